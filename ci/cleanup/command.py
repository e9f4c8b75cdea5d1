"""python -m ci cleanup: list what the project made in AWS; remove all of it when told to.

    python -m ci cleanup --project visionloop --stage dev                        # lists
    python -m ci cleanup --project visionloop --stage dev --yes                  # asks, removes
    python -m ci cleanup --project visionloop --stage dev --yes --confirm visionloop

Removes only what carries the project's tags and its name, then lists again. After an
interruption the same command goes on. Exit status: 0 listed, or nothing is left; 1 something
is left, or could not be listed or removed; 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ci.aws import aws_errors
from ci.cleanup import serving, stacks, storage, training
from ci.cleanup.inventory import Aws, Item, Kind, Scope, is_gone
from ci.errors import CleanupError
from ci.problems import REPOSITORY
from ci.templates import load_templates
from shared.component.errors import VisionloopError
from shared.pipeline.cost import load_prices
from shared.pipeline.settings import Settings

_PASSES = 3  # what a stack held, or was only started while the rest went, goes the next time
Connect = Callable[[str], Any]


@dataclass(frozen=True)
class Listing:
    """What was found, and what could not be listed: kind -> reason."""

    found: list[tuple[Kind, Item]] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.found and not self.unknown


def main(
    argv: Sequence[str] | None = None,
    root: Path = REPOSITORY,
    connect: Connect | None = None,
    read: Callable[[], str] | None = None,
) -> int:
    """List, and with --yes remove.

    connect: makes a boto3 client for a service; read: reads what a person types.
    """
    arguments = _parser().parse_args(argv)
    scope = Scope(arguments.project, arguments.stage)
    with aws_errors("cleanup", CleanupError, "; run it again, it goes on where it was"):
        aws = Aws(scope, load_prices(), connect or _session())
        kinds = kinds_of(aws, root)
        account = aws.client("sts").get_caller_identity()["Account"]
        listing = take_stock(kinds)
        if not arguments.json:
            _show(listing, scope, account, sys.stdout)
        if not arguments.yes:
            if arguments.json:
                _show_json({"found": listing}, scope, sys.stdout)
            return 1 if listing.unknown else 0
        _confirm(scope, arguments.confirm, read or sys.stdin.readline)
        failures, left = remove_all(kinds, listing, sys.stderr)
    if arguments.json:
        _show_json({"found": listing, "left": left}, scope, sys.stdout)
    else:
        _show_end(left, failures, scope, sys.stdout)
    return 0 if left.is_empty else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci cleanup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--project", default="visionloop", help="first part of every name; default visionloop")
    add("--stage", required=True, help="second part of every name")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="only list; the default")
    mode.add_argument("--yes", action="store_true", help="remove; asks for the project's name")
    add("--confirm", default="", metavar="NAME", help="the project's name, for scripts")
    add("--json", action="store_true", help="JSON instead of tables")
    return parser


def _session() -> Connect:
    import boto3
    from botocore.config import Config

    session = boto3.Session(region_name=Settings.from_environ().region)
    patient = Config(retries={"mode": "standard", "max_attempts": 8})  # listings are throttled

    def connect(service: str) -> Any:
        return session.client(service, config=patient)  # type: ignore[call-overload, unused-ignore]

    return connect


def kinds_of(aws: Aws, root: Path) -> list[Kind]:
    """Return every kind in the order of removal: what runs, what serves, what stores."""
    return [
        *stacks.running_kinds(aws),
        *training.kinds(aws),
        *serving.kinds(aws),
        *training.registry_kinds(aws),
        *stacks.rule_kinds(aws),
        *stacks.kinds(aws),
        *storage.kinds(aws, load_templates(root)),
    ]


def take_stock(kinds: Sequence[Kind]) -> Listing:
    """List everything; a kind that may not be listed stops none of the others."""
    from botocore.exceptions import ClientError

    listing = Listing()
    for kind in kinds:
        try:
            listing.found.extend((kind, item) for item in kind.items())
        except ClientError as err:
            listing.unknown[kind.name] = str(err)
    return listing


def remove_all(
    kinds: Sequence[Kind], listing: Listing, progress: TextIO
) -> tuple[dict[str, str], Listing]:
    """Remove until a listing is empty or a pass removes nothing; return failures and the rest.

    Kinds are listed anew as their turn comes: what one removed may have made another.
    """
    failures: dict[str, str] = {}
    for _ in range(_PASSES):
        failures = {}
        removed = sum(_remove_kind(kind, failures, progress) for kind in kinds)
        listing = take_stock(kinds)
        if listing.is_empty or not removed:
            break
    return failures, listing


def _remove_kind(kind: Kind, failures: dict[str, str], progress: TextIO) -> int:
    """Remove all of one kind; return how many went."""
    from botocore.exceptions import ClientError

    removed = 0
    try:
        items = list(kind.items())
    except ClientError:  # the listing at the end says it
        return 0
    for number, item in enumerate(items, 1):
        progress.write(f"{kind.name} {number}/{len(items)}: {item.id}\n")
        progress.flush()
        try:
            kind.delete(item)
            removed += 1
        except ClientError as err:
            if is_gone(err):
                continue
            failures[item.id] = str(err)
            progress.write(f"  failed: {err}\n")
        except VisionloopError as err:
            failures[item.id] = str(err)
            progress.write(f"  failed: {err}\n")
    return removed


def _confirm(scope: Scope, given: str, read: Callable[[], str]) -> None:
    """Go on only when the project's name is given.

    Raises:
        CleanupError: it is not.
    """
    if not given:
        sys.stderr.write(f"all of this goes for good; type the project's name ({scope.project}): ")
        sys.stderr.flush()
        given = read().strip()
    if given != scope.project:
        raise CleanupError(
            f"cleanup: '{given}' is not the project's name; nothing was removed; "
            f"type {scope.project}, or pass --confirm {scope.project}"
        )


def _show(listing: Listing, scope: Scope, account: str, out: TextIO) -> None:
    out.write(f"{scope.name} in account {account}\n{'USD/month':>9} {'age':>6}  what\n")
    now = datetime.now(UTC)
    kind = None
    for kind_of, item in listing.found:
        if kind_of.name != kind:
            kind = kind_of.name
            out.write(f"{kind}\n")
        usd = "?" if item.monthly_usd is None else f"{item.monthly_usd:.2f}"
        age = _age(item.created, now)
        out.write(f"{usd:>9} {age:>6}  {item.id}{f'  ({item.size})' if item.size else ''}\n")
    known = [item.monthly_usd for _, item in listing.found if item.monthly_usd is not None]
    count = len(listing.found)
    out.write(f"{count} things, {sum(known):.2f} USD a month while nothing is asked of them\n")
    _show_unknown(listing.unknown, out)
    for name in sorted(scope.nobodys):
        out.write(f"left alone: {name} has our name but nobody's tags; see whose it is\n")


def _show_unknown(unknown: Mapping[str, str], out: TextIO) -> None:
    for kind, reason in unknown.items():
        out.write(f"not listed: {kind}: {reason}\n")


def _show_end(left: Listing, failures: Mapping[str, str], scope: Scope, out: TextIO) -> None:
    if left.is_empty:
        out.write(f"nothing of {scope.name} is left\n")
        return
    for kind, item in left.found:
        why = failures.get(item.id, "made anew while the rest went; run this again")
        out.write(f"left: {kind.name} {item.id}: {why}\n")
    _show_unknown(left.unknown, out)


def _show_json(listings: Mapping[str, Listing], scope: Scope, out: TextIO) -> None:
    answer: dict[str, Any] = {"left_alone": sorted(scope.nobodys)}
    for name, listing in listings.items():
        answer[name] = [
            {
                "kind": kind.name,
                "id": item.id,
                "size": item.size,
                "created": item.created.isoformat() if item.created else None,
                "monthly_usd": item.monthly_usd,
            }
            for kind, item in listing.found
        ]
        answer[f"{name}_not_listed"] = listing.unknown
    out.write(json.dumps(answer, indent=2) + "\n")


def _age(created: datetime | None, now: datetime) -> str:
    if created is None:
        return ""
    hours = (now - created.astimezone(UTC)).total_seconds() / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
