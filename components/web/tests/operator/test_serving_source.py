"""What serves: the version stands in the names that a deployment gives."""

from __future__ import annotations

import pytest

from components.web.errors import Away
from components.web.operator.serving import EndpointServing, FunctionServing, version_in
from components.web.tests.operator.aws import ACCOUNT, BEGAN, Fake, Store, error, serving


def test_the_configs_name_tells_the_version():
    found = EndpointServing(Store(endpoint=serving(7)).sagemaker(), "scenes").get()
    assert (found.version, found.status, found.instances) == (7, "InService", 2)
    assert found.is_steady


def test_a_deployment_on_its_way_is_told():
    coming = {"EndpointConfigName": "scenes-v8-0123abcd"}
    endpoint = serving(7, "Updating", PendingDeploymentSummary=coming)
    found = EndpointServing(Store(endpoint=endpoint).sagemaker(), "scenes").get()
    assert (found.version, found.next) == (7, 8)
    assert not found.is_steady


def test_a_failure_has_its_reason():
    endpoint = serving(7, "Failed", FailureReason="no capacity")
    assert EndpointServing(Store(endpoint=endpoint).sagemaker(), "scenes").get().reason == (
        "no capacity"
    )


def test_without_an_endpoint_nothing_serves():
    found = EndpointServing(Store().sagemaker(), "scenes").get()
    assert (found.status, found.version) == ("Absent", None)


def test_a_config_of_another_name_is_followed_to_its_model():
    config = {
        "EndpointConfigName": "by-hand",
        "EndpointConfigArn": f"{ACCOUNT}:endpoint-config/by-hand",
        "CreationTime": BEGAN,
        "ProductionVariants": [{"VariantName": "main", "ModelName": "m"}],
    }
    package = f"{ACCOUNT}:model-package/scenes/5"
    model = {
        "ModelName": "m",
        "ModelArn": f"{ACCOUNT}:model/m",
        "CreationTime": BEGAN,
        "PrimaryContainer": {"ModelPackageName": package},
    }
    endpoint = serving(7, EndpointConfigName="by-hand")
    client = Store(endpoint=endpoint).sagemaker(
        describe_endpoint_config=config, describe_model=model
    )
    assert EndpointServing(client, "scenes").get().version == 5
    gone = Store(endpoint=endpoint).sagemaker(
        describe_endpoint_config=error("ValidationException", "Could not find endpoint config")
    )
    assert EndpointServing(gone, "scenes").get().version is None


def test_sagemaker_that_is_away_is_said_to_be():
    denied = error("AccessDeniedException", "no", "DescribeEndpoint")
    with pytest.raises(Away, match="DescribeEndpoint is not allowed"):
        EndpointServing(Store(endpoint=denied).sagemaker(), "scenes").get()


def test_a_functions_version_is_described_by_the_deployment():
    alias = {
        "FunctionVersion": "4",
        "RoutingConfig": {"AdditionalVersionWeights": {"5": 0.1}},
    }

    def describe(Qualifier: str, **_: str) -> dict[str, str]:  # noqa: N803 - AWS's name
        return {"Description": f"scenes-v{Qualifier}-0123abcd"}

    client = Fake("lambda", get_alias=alias, get_function_configuration=describe)
    found = FunctionServing(client, "scenes-predict", "live").get()
    assert (found.version, found.next, found.status) == (4, 5, "Updating")
    absent = Fake("lambda", get_alias=error("ResourceNotFoundException", "no alias"))
    assert FunctionServing(absent, "scenes-predict", "live").get().status == "Absent"


@pytest.mark.parametrize(
    ("name", "version"),
    [("a-v3-0123abcd", 3), ("a-v12-local", 12), ("a-v0-x", None), ("v3", None), ("", None)],
)
def test_only_our_names_tell_a_version(name, version):
    assert version_in(name) == version
