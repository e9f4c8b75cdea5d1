"""A small part of AWS's API over the local backend's own files, for boto3 on a laptop.

    AWS_ENDPOINT_URL=http://127.0.0.1:PORT    # `python -m ci web` prints it

What SageMaker, its runtime, Parameter Store and CloudWatch Logs would answer is read from
and written to VISIONLOOP_HOME, so `python pipeline.py --backend local` sees the same.
"""
