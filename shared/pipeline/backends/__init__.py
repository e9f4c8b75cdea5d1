"""Where a pipeline definition runs: on SageMaker, or on this machine."""
