"""What stores: buckets with every version, image repositories, logs, parameters, the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ci.cleanup.inventory import Aws, Item, Kind, from_ms, in_bytes, is_gone, tags_from
from ci.errors import CleanupError
from ci.templates import Json, substituted

_BATCH = 1000  # keys a DeleteObjects takes
_SWEEPS = 5  # of a bucket that something still writes to: access logs come an hour late
# The shortest wait that KMS allows is 7 days; in it a mistake can be taken back.
_KEY_WAIT_DAYS = 7


def kinds(aws: Aws, templates: Mapping[str, Json]) -> list[Kind]:
    return [
        Buckets(aws),
        Repositories(aws),
        LogGroups(aws, log_groups(templates, aws.scope.project, aws.scope.stage)),
        Parameters(aws),
        Keys(aws),
    ]


@dataclass(frozen=True)
class Buckets:
    """Buckets `P-S-THING-ACCOUNT-REGION`: versions, delete markers, unfinished uploads."""

    aws: Aws
    name: str = "bucket"

    def items(self) -> Iterator[Item]:
        found = [
            bucket
            for bucket in self.aws.client("s3").list_buckets()["Buckets"]
            if self.aws.scope.has_name(bucket["Name"])
            and self.aws.scope.owns(bucket["Name"], self._tags(bucket["Name"]))
        ]
        # The bucket of access logs last: removing the others is logged there.
        prefix = f"{self.aws.scope.name}-logs-"
        for bucket in sorted(found, key=lambda b: (b["Name"].startswith(prefix), b["Name"])):
            count, size = self._content(bucket["Name"])
            usd = size / 1e9 * self.aws.prices.prices["s3_storage"].usd
            words = f"{in_bytes(size)}, {count} versions"
            yield Item(bucket["Name"], words, bucket["CreationDate"], usd)

    def _tags(self, bucket: str) -> dict[str, str]:
        try:
            return tags_from(self.aws.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"])
        except ClientError as err:
            if is_gone(err):  # NoSuchTagSet: nobody's
                return {}
            raise

    def _content(self, bucket: str) -> tuple[int, int]:
        sizes = [version.get("Size", 0) for version in self._versions(bucket)]
        return len(sizes), sum(sizes)

    def _versions(self, bucket: str) -> Iterator[dict[str, Any]]:
        pages = self.aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
        for page in pages:
            yield from page.get("Versions", ())
            yield from page.get("DeleteMarkers", ())

    def delete(self, item: Item) -> None:
        client = self.aws.client("s3")
        for _ in range(_SWEEPS):
            self._empty(item.id)
            try:
                client.delete_bucket(Bucket=item.id)
            except ClientError as err:
                if err.response["Error"]["Code"] != "BucketNotEmpty":
                    raise
            else:
                return
        raise CleanupError(
            f"cleanup: bucket {item.id} is filled while it is emptied; stop what writes to it"
        )

    def _empty(self, bucket: str) -> None:
        client = self.aws.client("s3")
        uploads = self.aws.pages("s3", "list_multipart_uploads", "Uploads", Bucket=bucket)
        for upload in list(uploads):
            client.abort_multipart_upload(
                Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        batch: list[dict[str, str]] = []
        for version in self._versions(bucket):
            batch.append({"Key": version["Key"], "VersionId": version["VersionId"]})
            if len(batch) == _BATCH:
                self._delete_batch(bucket, batch)
                batch = []
        if batch:
            self._delete_batch(bucket, batch)

    def _delete_batch(self, bucket: str, batch: list[dict[str, str]]) -> None:
        request = {"Objects": batch, "Quiet": True}
        answer = self.aws.client("s3").delete_objects(Bucket=bucket, Delete=request)
        if errors := answer.get("Errors"):  # in an answer that is a success
            first = errors[0]
            raise CleanupError(
                f"cleanup: s3://{bucket}/{first.get('Key')}: {first.get('Code')}: "
                f"{first.get('Message')}, and {len(errors) - 1} more; see its rights"
            )


@dataclass(frozen=True)
class Repositories:
    """Repositories of images, `P/IMAGE` or `P-S...`, with the stage in their tags."""

    aws: Aws
    name: str = "image repository"

    def items(self) -> Iterator[Item]:
        client, scope = self.aws.client("ecr"), self.aws.scope
        price = self.aws.prices.prices["ecr_storage"].usd
        for repository in self.aws.pages("ecr", "describe_repositories", "repositories"):
            name, arn = repository["repositoryName"], repository["repositoryArn"]
            top = name.partition("/")[0]
            if top != scope.project and not scope.has_name(top):
                continue
            if scope.has_tags(tags_from(client.list_tags_for_resource(resourceArn=arn)["tags"])):
                images = self.aws.pages(
                    "ecr", "describe_images", "imageDetails", repositoryName=name
                )
                sizes = [image.get("imageSizeInBytes", 0) for image in images]
                words = f"{in_bytes(sum(sizes))}, {len(sizes)} images"
                usd = sum(sizes) / 1e9 * price
                yield Item(name, words, repository["createdAt"], usd)

    def delete(self, item: Item) -> None:
        self.aws.client("ecr").delete_repository(repositoryName=item.id, force=True)


def log_groups(templates: Mapping[str, Json], project: str, stage: str) -> frozenset[str]:
    """Return the log groups that services make by themselves, untagged, for what is ours.

    By whole names out of the templates: a prefix would take those of a stage `dev-2`, too.
    """
    words = {"Project": project, "Stage": stage}
    name = f"{project}-{stage}"
    groups = {f"/aws/lambda/{name}-predict", f"/aws/sagemaker/Endpoints/{name}"}
    places = {
        "AWS::Lambda::Function": ("FunctionName", "/aws/lambda/"),
        "AWS::CodeBuild::Project": ("Name", "/aws/codebuild/"),
        "AWS::Logs::LogGroup": ("LogGroupName", ""),
    }
    for template in templates.values():
        for resource in template["Resources"].values():
            key, prefix = places.get(resource["Type"], ("", ""))
            if given := resource.get("Properties", {}).get(key):
                groups.add(prefix + substituted(given, words))
    return frozenset(groups)


@dataclass(frozen=True)
class LogGroups:
    """Log groups of functions, builds, endpoints; `known` are those that nobody tags."""

    aws: Aws
    known: frozenset[str]
    name: str = "log group"

    def items(self) -> Iterator[Item]:
        for group in self.aws.pages("logs", "describe_log_groups", "logGroups"):
            if self._is_ours(group["logGroupName"], group["arn"]):
                size = group.get("storedBytes", 0)
                yield Item(group["logGroupName"], in_bytes(size), from_ms(group["creationTime"]))

    def _is_ours(self, name: str, arn: str) -> bool:
        last = name.rpartition("/")[2]
        if name not in self.known and not self.aws.scope.has_name(last):
            return False
        client = self.aws.client("logs")
        tags = client.list_tags_for_resource(resourceArn=arn.removesuffix(":*")).get("tags", {})
        if "project" not in tags and "stage" not in tags:
            return name in self.known
        return self.aws.scope.owns(last, tags)

    def delete(self, item: Item) -> None:
        self.aws.client("logs").delete_log_group(logGroupName=item.id)


@dataclass(frozen=True)
class Parameters:
    """Parameters below /P/S/: a path that no neighbour shares, so that it is tag enough."""

    aws: Aws
    name: str = "parameter"

    def items(self) -> Iterator[Item]:
        path = f"/{self.aws.scope.project}/{self.aws.scope.stage}/"
        for parameter in self.aws.pages(
            "ssm", "get_parameters_by_path", "Parameters", Path=path, Recursive=True
        ):
            yield Item(parameter["Name"], created=parameter["LastModifiedDate"])

    def delete(self, item: Item) -> None:
        self.aws.client("ssm").delete_parameter(Name=item.id)


@dataclass(frozen=True)
class Keys:
    """Keys by their tags, as a key has no name; removed after a wait, with its aliases."""

    aws: Aws
    name: str = "key"

    def items(self) -> Iterator[Item]:
        denied: ClientError | None = None
        is_any_known = False
        for entry in self.aws.pages("kms", "list_keys", "Keys"):
            try:
                item = self._item(entry["KeyId"])
            except ClientError as err:
                if "AccessDenied" not in err.response["Error"]["Code"]:
                    raise
                denied = err  # a neighbour's, whose policy names its users
                continue
            is_any_known = True
            if item:
                yield item
        if denied and not is_any_known:  # then it is us who may ask nothing
            raise denied

    def _item(self, key_id: str) -> Item | None:
        """Return a key of ours that is not going already."""
        key = self.aws.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        is_there = key["KeyState"] not in ("PendingDeletion", "PendingReplicaDeletion")
        if key.get("KeyManager") != "CUSTOMER" or not is_there:
            return None
        tags = tags_from(self.aws.pages("kms", "list_resource_tags", "Tags", KeyId=key_id))
        if not self.aws.scope.has_tags(tags):
            return None
        usd = self.aws.prices.prices["kms_key"].usd
        return Item(key["KeyId"], key["KeyState"], key.get("CreationDate"), usd)

    def delete(self, item: Item) -> None:
        client = self.aws.client("kms")
        for alias in list(self.aws.pages("kms", "list_aliases", "Aliases", KeyId=item.id)):
            client.delete_alias(AliasName=alias["AliasName"])
        client.schedule_key_deletion(KeyId=item.id, PendingWindowInDays=_KEY_WAIT_DAYS)
