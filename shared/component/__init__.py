"""What every component image carries: the spec, the /opt/ml contract, the runtime."""
