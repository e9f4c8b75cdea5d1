"""Serve a model bundle behind SageMaker's contract: /ping and /invocations."""
