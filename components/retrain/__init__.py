"""Start one training run when raw data or labels have come that no run has seen."""
