"""Start one training run when raw data or annotations have come that no run has seen."""
