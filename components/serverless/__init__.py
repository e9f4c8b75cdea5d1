"""Answer with a model bundle from a Lambda function: API Gateway, function URL, direct invoke."""
