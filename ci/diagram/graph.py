"""Services as boxes, triggers as arrows: what templates and pipeline definition say.

A rule's pattern says where its events come from and its targets where they go; queues reach
functions by event source mappings; who starts, updates and calls whom is read from the roles:
what nobody may do, nobody does. Reading and writing stands as words in the box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ci.templates import Json, substituted, walk

WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::AccountId": "ACCOUNT",
    "AWS::Region": "REGION",
    "AWS::Partition": "aws",
}
PREFIX = "visionloop-dev"
PIPELINE, ENDPOINT, PREDICT = "pipeline.start", "serving.endpoint", "serving.predict"
IMAGES, OPERATORS, CODE = "registry.images", "parameters.all", "outside.code"

# Type -> what a person calls it, and the property that names it.
KINDS = {
    "AWS::S3::Bucket": ("S3 bucket", "BucketName"),
    "AWS::SNS::Topic": ("SNS topic", "TopicName"),
    "AWS::SQS::Queue": ("SQS queue", "QueueName"),
    "AWS::Events::Rule": ("EventBridge rule", "Name"),
    "AWS::Scheduler::Schedule": ("schedule", "Name"),
    "AWS::Lambda::Function": ("Lambda function", "FunctionName"),
    "AWS::StepFunctions::StateMachine": ("Step Functions", "StateMachineName"),
    "AWS::SageMaker::ModelPackageGroup": ("model package group", "ModelPackageGroupName"),
    "AWS::CodeBuild::Project": ("CodeBuild project", "Name"),
    "AWS::CloudWatch::Dashboard": ("dashboard", "DashboardName"),
    "AWS::Budgets::Budget": ("budget", "BudgetName"),
    "AWS::KMS::Key": ("KMS key", ""),
}
# Part of an ARN -> what is meant, where no template makes it.
_MADE_ELSEWHERE = (
    (":pipeline/", PIPELINE),
    (":endpoint/", ENDPOINT),
    (f":function:{PREFIX}-predict", PREDICT),
    (":repository/", IMAGES),
    ("/visionloop/dev/operator", OPERATORS),
)
_ARN_KINDS = (
    (":sqs:", "SQS queue"),
    (":function:", "Lambda function"),
    (":stateMachine:", "Step Functions"),
)
# What one service does to another, of all that a role may do.
_DEEDS = {
    "sagemaker:StartPipelineExecution",
    "sagemaker:CreateModelPackage",
    "sagemaker:CreateEndpoint",
    "lambda:UpdateFunctionCode",
    "lambda:InvokeFunction",
    "sagemaker:InvokeEndpoint",
    "sqs:SendMessage",
    "states:StartExecution",
    "ecr:PutImage",
}


@dataclass(frozen=True)
class Node:
    """One box: `group` is its stack or another place, `notes` are small words in it."""

    id: str
    title: str
    kind: str
    group: str
    notes: tuple[str, ...] = ()


@dataclass
class Graph:
    """Nodes by id in order, and arrows from id to id."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)  # a set that keeps order

    def add(self, node: Node) -> None:
        self.nodes.setdefault(node.id, node)

    def link(self, source: str, target: str) -> None:
        if source in self.nodes and target in self.nodes and source != target:
            self.edges[source, target] = None

    def note(self, node_id: str, words: str) -> None:
        if (node := self.nodes.get(node_id)) and words not in node.notes:
            notes = (*node.notes, words)
            self.nodes[node_id] = Node(node.id, node.title, node.kind, node.group, notes)


class Reader:
    """Reads templates into a graph."""

    def __init__(self, templates: Mapping[str, Json]) -> None:
        self.graph = Graph()
        self._templates = templates
        self._names: dict[str, dict[str, str]] = {}  # physical name -> kind -> node
        self._dead = set(self._dead_letters())

    def read(self) -> Graph:
        for stack, name, body in self._resources():
            self._add(stack, name, body)
        for stack, name, body in self._resources():
            self._link(stack, name, body)
        for stack, role, statement in self._statements():
            self._allow(stack, role, statement)
        return self.graph

    def _resources(self) -> Iterator[tuple[str, str, Json]]:
        for stack, template in self._templates.items():
            for name, body in template["Resources"].items():
                yield stack, name, {"Properties": {}, **body}

    def _dead_letters(self) -> Iterator[str]:
        for stack, _, body in self._resources():
            for each in walk(body["Properties"]):
                target = each.get("deadLetterTargetArn") or each.get("DeadLetterConfig", {})
                target = target.get("Arn") or target.get("TargetArn") or target
                if isinstance(target, dict) and "Fn::GetAtt" in target:
                    yield f"{stack}.{target['Fn::GetAtt'][0]}"

    def _add(self, stack: str, name: str, body: Json) -> None:
        node_id, properties = f"{stack}.{name}", body["Properties"]
        if body["Type"] in KINDS and node_id not in self._dead:
            kind, key = KINDS[body["Type"]]
            physical = substituted(properties.get(key, name), WORDS)
            self._names.setdefault(physical, {})[kind] = node_id
            self.graph.add(Node(node_id, short(physical), kind, stack))
        elif body["Type"] == "AWS::IAM::ManagedPolicy" and stack != "foundation":
            # Foundation's is the boundary; the others stand for who has them attached.
            title = short(substituted(properties["ManagedPolicyName"], WORDS))
            self.graph.add(Node(node_id, title, "runs where the team runs it", stack))
        elif body["Type"] == "AWS::CloudWatch::Alarm":
            alarms = f"{stack}.alarms"
            self.graph.add(Node(alarms, "alarms", "CloudWatch alarms", stack))
            physical = substituted(properties["AlarmName"], WORDS)
            self._names.setdefault(physical, {})["alarm"] = alarms
            self.graph.note(alarms, short(physical))
        elif stack == "parameters" and body["Type"] == "AWS::SSM::Parameter":
            self.graph.add(Node(OPERATORS, "operator parameters", "Parameter Store", stack))
            self.graph.note(OPERATORS, substituted(properties["Name"], WORDS).rpartition("/")[2])
        self._add_made(stack, body)

    def _add_made(self, stack: str, body: Json) -> None:
        """Add what is made by what a template makes: seen by the names in its roles."""
        if body["Type"] == "AWS::CodeBuild::Project":
            self.graph.add(Node(CODE, "code on GitHub", "repository", "outside"))
        texts = " ".join(self._texts(body)) if body["Type"].startswith("AWS::IAM::") else ""
        for part, node_id in _MADE_ELSEWHERE:
            if part in texts and node_id in (ENDPOINT, PREDICT):
                title, kind = _SERVING[node_id]
                self.graph.add(Node(node_id, title, kind, "serving"))
            if part in texts and node_id == IMAGES and stack in ("registry", "ci"):
                self.graph.add(Node(IMAGES, "images of components", "ECR repositories", "registry"))

    def _link(self, stack: str, name: str, body: Json) -> None:
        node_id, properties = f"{stack}.{name}", body["Properties"]
        links = {
            "AWS::Events::Rule": self._link_rule,
            "AWS::Scheduler::Schedule": self._link_schedule,
            "AWS::CodeBuild::Project": self._link_project,
            "AWS::CloudWatch::Alarm": self._link_alarm,
            "AWS::Budgets::Budget": self._link_budget,
        }
        if link := links.get(body["Type"]):
            link(node_id, stack, properties)
        if body["Type"] == "AWS::Lambda::EventSourceMapping":
            source = self.place(properties["EventSourceArn"], stack)
            self.graph.link(source, self.place(properties["FunctionName"], stack))
        if "RedrivePolicy" in properties:
            self.graph.note(node_id, "dead letters ring an alarm")

    def _link_rule(self, node_id: str, stack: str, properties: Json) -> None:
        for source in self._sources(stack, properties.get("EventPattern", {})):
            self.graph.link(source, node_id)
        for target in properties["Targets"]:
            self._reach(node_id, self.place(target["Arn"], stack))

    def _link_schedule(self, node_id: str, stack: str, properties: Json) -> None:
        self.graph.note(node_id, str(properties["ScheduleExpression"]))
        self._reach(node_id, self.place(properties["Target"]["Arn"], stack))

    def _link_project(self, node_id: str, _: str, properties: Json) -> None:
        events = properties["Triggers"]["FilterGroups"][0][0]["Pattern"]
        self.graph.note(node_id, "pull requests" if "PULL" in events else "pushes to the branch")
        self.graph.link(CODE, node_id)

    def _link_budget(self, node_id: str, stack: str, properties: Json) -> None:
        for each in walk(properties):
            self._reach(node_id, self.place(each.get("Address", ""), stack))

    def _link_alarm(self, _: str, stack: str, properties: Json) -> None:
        for dimension in properties.get("Dimensions", ()):
            value = substituted(dimension["Value"], WORDS)
            watched = {"EndpointName": ENDPOINT, "FunctionName": PREDICT}.get(dimension["Name"])
            if watched and value.startswith(PREFIX):
                self.graph.link(watched, f"{stack}.alarms")
        for action in properties.get("AlarmActions", ()):
            self._reach(f"{stack}.alarms", self.place(action, stack))

    def _reach(self, source: str, target: str) -> None:
        """Draw an arrow; one to the topic of notices is words, or it would fill the picture."""
        node = self.graph.nodes.get(target)
        if node and node.kind == "SNS topic":
            self.graph.note(source, f"tells {node.title}")
        else:
            self.graph.link(source, target)

    def _sources(self, stack: str, pattern: Json) -> Iterator[str]:
        """Yield where a rule's events come from: whatever its pattern names."""
        for text in self._texts(pattern.get("detail", {})):
            place = self.place(text, stack)
            if place := place or self._group(text):
                yield place

    def _statements(self) -> Iterator[tuple[str, str, Json]]:
        for stack, name, body in self._resources():
            has_own = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
            roles = [name] if body["Type"] in has_own else []
            if body["Type"] == "AWS::IAM::Policy":
                roles = [e["Ref"] for e in walk(body["Properties"]["Roles"]) if "Ref" in e]
            for role in roles:
                for each in walk(body["Properties"]):
                    if each.get("Effect") == "Allow" and {"Action", "Resource"} <= each.keys():
                        yield stack, role, each

    def _allow(self, stack: str, role: str, statement: Json) -> None:
        users = list(self._users(stack, role))
        actions = set(_listed(statement["Action"]))
        for resource in _listed(statement["Resource"]):
            place = self.place(resource, stack)
            for user in users if place else ():
                if actions & _DEEDS:
                    self.graph.link(user, place)
                elif words := self._words(actions, place):
                    self.graph.note(user, words)

    def _words(self, actions: set[str], place: str) -> str:
        node = self.graph.nodes[place]
        if node.kind == "SNS topic" and "sns:Publish" in actions:
            return f"tells {node.title}"
        if node.kind == "S3 bucket" and actions & {"s3:GetObject", "s3:PutObject"}:
            does = "writes" if "s3:PutObject" in actions else "reads"
            return f"{does} {node.title}"
        return "reads operators' values" if place == OPERATORS else ""

    def _users(self, stack: str, role: str) -> Iterator[str]:
        """Yield the nodes that act under a role, or have a policy attached."""
        if f"{stack}.{role}" in self.graph.nodes:
            yield f"{stack}.{role}"
        for name, body in self._templates[stack]["Resources"].items():
            properties = body.get("Properties", {})
            given = properties.get("Role") or properties.get("RoleArn")
            given = given or properties.get("ServiceRole")
            if isinstance(given, dict) and given.get("Fn::GetAtt", [""])[0] == role:
                yield f"{stack}.{name}"
        made = {"PipelineRole": PIPELINE, "EndpointRole": ENDPOINT, "PredictRole": PREDICT}
        if role in made:
            yield made[role]

    def place(self, value: Any, stack: str) -> str:
        """Return the node that a reference or an ARN stands for; "" where there is none."""
        if isinstance(value, dict):
            logical = value.get("Fn::GetAtt", [value.get("Ref", "")])[0]
            if f"{stack}.{logical}" in self.graph.nodes:
                return f"{stack}.{logical}"
            if owner := self._owner(stack, logical):
                return owner
        text = substituted(value, WORDS)
        for part, node_id in _MADE_ELSEWHERE:
            if part in text and node_id in {*self.graph.nodes, PIPELINE}:
                return node_id
        if ":model-package" in text:
            return self._group(PREFIX)
        return self._named(text)

    def _group(self, text: str) -> str:
        """Return the model package group, which events name without an ARN."""
        return self._names.get(text, {}).get("model package group", "")

    def _named(self, text: str) -> str:
        """Return what has a name, or an ARN that ends in it; the ARN tells the kind."""
        kind = next((kind for part, kind in _ARN_KINDS if part in text), "")
        last, bucket = re.sub(".*[:/]", "", text), re.sub(".*:::|/.*", "", text)
        for piece in (text, last, bucket):
            if piece != PREFIX and (found := self._names.get(piece)):
                return found.get(kind, next(iter(found.values())))
        return ""

    def _owner(self, stack: str, parameter: str) -> str:
        """Follow a template's parameter to the resource whose value another stack published."""
        path = self._templates[stack].get("Parameters", {}).get(parameter, {}).get("Default", "")
        for other, _, body in self._resources():
            is_parameter = body["Type"] == "AWS::SSM::Parameter"
            if is_parameter and substituted(body["Properties"]["Name"], WORDS) == path:
                return self.place(body["Properties"]["Value"], other)
        return ""

    def _texts(self, value: Any) -> Iterator[str]:
        """Yield every text in a value, with names put in."""
        if isinstance(value, dict):
            if "Fn::Sub" in value or "Ref" in value:
                yield substituted(value, WORDS)
                return
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                yield from self._texts(each)
        elif isinstance(value, str):
            yield value


_SERVING = {
    ENDPOINT: ("endpoint", "SageMaker endpoint"),
    PREDICT: ("predict", "Lambda function from an image"),
}


def short(name: str) -> str:
    """Return a name without what all have: project, stage, account, region."""
    return name.removeprefix(f"{PREFIX}-").removesuffix("-ACCOUNT-REGION")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
