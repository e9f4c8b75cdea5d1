"""The stacks, the last one made first, and what may be left of a stack that did not end well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from ci.cleanup.inventory import Aws, Item, Kind, is_gone, tags_from
from ci.cleanup.serving import Functions
from ci.errors import CleanupError
from ci.templates import ORDER


def rule_kinds(aws: Aws) -> list[Kind]:
    return [Rules(aws)]


def running_kinds(aws: Aws) -> list[Kind]:
    return [Deployments(aws)]


def kinds(aws: Aws) -> list[Kind]:
    return [Stacks(aws), Functions(aws), StateMachines(aws), Queues(aws), Topics(aws), Alarms(aws)]


@dataclass(frozen=True)
class Stacks:
    """Stacks `P-S-STACK`; buckets and the key outlive theirs and are found by themselves."""

    aws: Aws
    name: str = "stack"

    def items(self) -> Iterator[Item]:
        found = {
            stack["StackName"]: stack
            for stack in self.aws.pages("cloudformation", "describe_stacks", "Stacks")
            if stack["StackStatus"] != "DELETE_COMPLETE"
            and self.aws.scope.owns(stack["StackName"], tags_from(stack.get("Tags")))
        }
        for name in sorted(found, key=self._place, reverse=True):
            yield Item(name, found[name]["StackStatus"], found[name]["CreationTime"])

    def _place(self, name: str) -> tuple[int, str]:
        """Return the place in the order of deployment; what is not known came last."""
        stack = name.removeprefix(f"{self.aws.scope.name}-")
        return (ORDER.index(stack) if stack in ORDER else len(ORDER)), name

    def delete(self, item: Item) -> None:
        client = self.aws.client("cloudformation")
        # By its id: under the name alone a stack that is gone cannot be described.
        stack_id = client.describe_stacks(StackName=item.id)["Stacks"][0]["StackId"]
        client.delete_stack(StackName=stack_id)

        def is_deleted() -> bool:
            try:
                (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
            except ClientError as err:
                if is_gone(err):
                    return True
                raise
            if stack["StackStatus"] == "DELETE_FAILED":
                reason = stack.get("StackStatusReason", "no reason was given")
                raise CleanupError(
                    f"cleanup: stack {item.id}: {reason}; remove what holds it, run this again"
                )
            return str(stack["StackStatus"]) == "DELETE_COMPLETE"

        self.aws.wait_until(is_deleted, f"stack {item.id}")


@dataclass(frozen=True)
class Rules:
    """EventBridge's rules: before the stacks, since an event would start a run or a deployment."""

    aws: Aws
    name: str = "rule"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("events")
        for rule in self.aws.pages("events", "list_rules", "Rules", NamePrefix=self.aws.scope.name):
            tags = tags_from(client.list_tags_for_resource(ResourceARN=rule["Arn"]).get("Tags"))
            if self.aws.scope.owns(rule["Name"], tags):
                yield Item(rule["Name"], rule.get("State", ""))

    def delete(self, item: Item) -> None:
        client = self.aws.client("events")
        targets = client.list_targets_by_rule(Rule=item.id)["Targets"]
        if targets:
            client.remove_targets(Rule=item.id, Ids=[target["Id"] for target in targets])
        client.delete_rule(Name=item.id)


@dataclass(frozen=True)
class Deployments:
    """Running executions of our state machines: one would make anew what is removed."""

    aws: Aws
    name: str = "deployment"

    def items(self) -> Iterator[Item]:
        for machine in StateMachines(self.aws).items():
            for run in self.aws.pages(
                "stepfunctions",
                "list_executions",
                "executions",
                stateMachineArn=machine.id,
                statusFilter="RUNNING",
            ):
                yield Item(run["executionArn"], created=run["startDate"])

    def delete(self, item: Item) -> None:
        client = self.aws.client("stepfunctions")
        client.stop_execution(executionArn=item.id, cause="python -m ci cleanup")


@dataclass(frozen=True)
class StateMachines:
    aws: Aws
    name: str = "state machine"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("stepfunctions")
        for machine in self.aws.pages("stepfunctions", "list_state_machines", "stateMachines"):
            name, arn = machine["name"], machine["stateMachineArn"]
            if self.aws.scope.has_name(name):
                tags = tags_from(client.list_tags_for_resource(resourceArn=arn).get("tags"))
                if self.aws.scope.owns(name, tags):
                    yield Item(arn, created=machine["creationDate"])

    def delete(self, item: Item) -> None:
        self.aws.client("stepfunctions").delete_state_machine(stateMachineArn=item.id)


@dataclass(frozen=True)
class Queues:
    aws: Aws
    name: str = "queue"

    def items(self) -> Iterator[Item]:
        client, scope = self.aws.client("sqs"), self.aws.scope
        for url in self.aws.pages("sqs", "list_queues", "QueueUrls", QueueNamePrefix=scope.name):
            name = url.rpartition("/")[2].removesuffix(".fifo")
            if scope.owns(name, client.list_queue_tags(QueueUrl=url).get("Tags", {})):
                yield Item(url)

    def delete(self, item: Item) -> None:
        self.aws.client("sqs").delete_queue(QueueUrl=item.id)


@dataclass(frozen=True)
class Topics:
    aws: Aws
    name: str = "topic"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("sns")
        for topic in self.aws.pages("sns", "list_topics", "Topics"):
            arn = topic["TopicArn"]
            name = arn.rpartition(":")[2]
            if self.aws.scope.has_name(name):
                tags = tags_from(client.list_tags_for_resource(ResourceArn=arn).get("Tags"))
                if self.aws.scope.owns(name, tags):
                    yield Item(arn)

    def delete(self, item: Item) -> None:
        self.aws.client("sns").delete_topic(TopicArn=item.id)


@dataclass(frozen=True)
class Alarms:
    aws: Aws
    name: str = "alarm"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("cloudwatch")
        usd = self.aws.prices.prices["alarm_metric"].usd
        prefix = self.aws.scope.name
        for alarm in self.aws.pages(
            "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix
        ):
            tags = client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"]).get("Tags")
            if self.aws.scope.owns(alarm["AlarmName"], tags_from(tags)):
                count = sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1
                yield Item(alarm["AlarmName"], alarm.get("StateValue", ""), monthly_usd=count * usd)

    def delete(self, item: Item) -> None:
        self.aws.client("cloudwatch").delete_alarms(AlarmNames=[item.id])
