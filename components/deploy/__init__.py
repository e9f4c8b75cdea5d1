"""Bring an approved model package to an endpoint, a serverless endpoint or a Lambda function."""
