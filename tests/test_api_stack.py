"""What the pages' function may do and is told, read out of the template and of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from ci.problems import REPOSITORY
from ci.templates import load_templates, walk
from components.web.settings import Settings
from shared.component.spec import load_spec

API = load_templates(REPOSITORY)["api"]["Resources"]
CODE = [
    *(REPOSITORY / "components" / "web").glob("*.py"),
    *(REPOSITORY / "components" / "web" / "operator").glob("*.py"),
    REPOSITORY / "shared" / "component" / "invoke.py",
    REPOSITORY / "shared" / "component" / "operator.py",
    REPOSITORY / "shared" / "component" / "object_store.py",
]
# The services that the pages ask, and the begin of their actions.
SERVICES = {
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "ssm": "ssm",
    "logs": "logs",
    "cloudwatch": "cloudwatch",
    "lambda": "lambda",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
}
# Actions that are called otherwise than the operations that need them.
ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
}


def names_in(path: Path) -> Iterator[str]:
    """Yield every attribute and every text, among them methods and paginators' names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def called_actions() -> set[str]:
    """Return the actions of all operations that the pages' code names."""
    named = {name for path in CODE for name in names_in(path)}
    found, session = set(), get_session()
    for service, prefix in SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            method = xform_name(operation)
            # Of one word, as `invoke` of Lambda, a name says little: other objects have it.
            if method in named and ("_" in method or service == "lambda"):
                action = f"{prefix}:{operation}"
                found.add(ACTIONS.get(action, action))
    return found


def allowed_actions() -> set[str]:
    statements = [s for s in walk(API["Role"]) if s.get("Effect") == "Allow"]
    listed = (s["Action"] if isinstance(s["Action"], list) else [s["Action"]] for s in statements)
    return {action for actions in listed for action in actions}


def test_the_role_allows_what_the_code_calls_and_nothing_more() -> None:
    # Of the role itself, of what boto3 does by itself, and of presigned forms and prefixes.
    own = {"sts:AssumeRole", "kms:Decrypt", "kms:GenerateDataKey"}
    logging = {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert called_actions() == allowed_actions() - own - logging


def test_the_function_is_told_what_the_component_takes() -> None:
    told = API["Function"]["Properties"]["Environment"]["Variables"]
    spec = load_spec(REPOSITORY / "components" / "web")
    assert told.keys() <= {port.variable for port in spec.inputs.values()}
    needed = {"NAME", "LOGIN", "PUBLIC_URL", "ISSUER", "CLIENT_ID", "SESSION_KEY"}
    places = {"SINK", "OPERATOR_PATH", "AUDIT_LOG", "LABELS", "LABEL_REPORT", "RAW", "METRICS"}
    assert {f"VISIONLOOP_{name}" for name in needed | places} <= told.keys()
    assert told["VISIONLOOP_LOGIN"] == "cognito"


def test_an_image_that_lambda_takes_fits_into_an_event() -> None:
    """A body travels as base64, four bytes for three, and an event has 6 MB."""
    told = API["Function"]["Properties"]["Environment"]["Variables"]
    megabytes = int(told["VISIONLOOP_MAX_IMAGE_MB"])
    assert (megabytes << 20) * 4 / 3 < 6_000_000


def test_users_are_let_in_by_operators_alone_and_lead_back_to_the_pages() -> None:
    assert API["Users"]["Properties"]["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    client = API["Client"]["Properties"]
    assert client["AllowedOAuthFlows"] == ["code"]
    (back,) = client["CallbackURLs"]
    assert back["Fn::Sub"].endswith("amazonaws.com/login/callback")
    groups = {
        body["Properties"]["GroupName"]
        for body in API.values()
        if body["Type"] == "AWS::Cognito::UserPoolGroup"
    }
    assert groups == {"consumer", "operator"}


@pytest.mark.parametrize("name", ["Function", "Integration", "Everything", "MayCall"])
def test_without_an_image_there_is_no_function(name: str) -> None:
    """The first deployment comes before the first push."""
    assert API[name]["Condition"] == "HasImage"


def test_the_address_the_pages_are_told_is_the_one_that_they_have() -> None:
    told = API["Function"]["Properties"]["Environment"]["Variables"]
    public = told["VISIONLOOP_PUBLIC_URL"]["Fn::Sub"]
    assert re.fullmatch(
        r"https://\$\{Api\}\.execute-api\.\$\{AWS::Region\}\.amazonaws\.com", public
    )
    fields = Settings.__dataclass_fields__
    assert "public_url" in fields
