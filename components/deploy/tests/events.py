"""Events as AWS documents them.

docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
docs.aws.amazon.com/systems-manager/latest/userguide/reference-eventbridge-events.html
"""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]


def model_package_changed(package: Event) -> Event:
    """Return SageMaker's event about a package, whose fields are DescribeModelPackage's."""
    return {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2021-02-24T17:00:14Z",
        "region": "us-east-1",
        "resources": [package["ModelPackageArn"]],
        "detail": {
            "ModelPackageGroupName": package["ModelPackageGroupName"],
            "ModelPackageVersion": package["ModelPackageVersion"],
            "ModelPackageArn": package["ModelPackageArn"],
            "CreationTime": "2021-02-24T17:00:14Z",
            "InferenceSpecification": package["InferenceSpecification"],
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": False,
            "ModelApprovalStatus": package["ModelApprovalStatus"],
            "SkipModelValidation": "None",
        },
    }


def parameter_changed(name: str, operation: str = "Update") -> Event:
    """Return Parameter Store's event about a parameter."""
    return {
        "version": "0",
        "id": "6a7e4feb-b491-4cf7-a9f1-bf3703497718",
        "detail-type": "Parameter Store Change",
        "source": "aws.ssm",
        "account": "123456789012",
        "time": "2017-05-22T16:43:48Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:ssm:us-east-1:123456789012:parameter{name}"],
        "detail": {"operation": operation, "name": name, "type": "String", "description": ""},
    }
