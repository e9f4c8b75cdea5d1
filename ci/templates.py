"""CloudFormation templates as plain data: `!Ref X` becomes {"Ref": "X"}, as in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from ci.errors import TemplateError

Json = dict[str, Any]
STACKS = Path("ci/stacks")
# In the order of deployment (ci/stacks/README.md); what is not named comes after them.
ORDER = (
    "foundation",
    "parameters",
    "registry",
    "triggers",
    "deploy",
    "labeling",
    "observe",
    "api",
    "ci",
)
_WHOLE = {"Ref", "Condition"}  # their long forms have no "Fn::" before them


class _Loader(yaml.SafeLoader):
    """Knows CloudFormation's short tags."""


def _short_form(loader: _Loader, tag: str, node: yaml.Node) -> Json:
    name = tag if tag in _WHOLE else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return {name: str(text).split(".", 1) if tag == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(cast("yaml.MappingNode", node), deep=True)}


_Loader.add_multi_constructor("!", _short_form)
# Dates stay text: Version: 2012-10-17 is no day.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_template(path: Path) -> Json:
    """Read one template.

    Raises:
        TemplateError: it is missing, no YAML, or has no resources.
    """
    try:
        document = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError) as err:
        raise TemplateError(f"templates: {path} cannot be read: {err}; see cfn-lint") from err
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"templates: {path} has no Resources; is it a template?")
    return document


def load_templates(root: Path) -> dict[str, Json]:
    """Return every stack's template by the stack's name, in the order of deployment."""
    paths = {path.stem: path for path in sorted((root / STACKS).glob("*.yaml"))}
    names = [name for name in ORDER if name in paths]
    names += [name for name in paths if name not in ORDER]
    return {name: load_template(paths[name]) for name in names}


def substituted(value: Any, words: Mapping[str, str]) -> str:
    """Return a text with `${Name}` and Ref put in; what `words` lacks stays as it is."""
    if isinstance(value, dict):
        if "Ref" in value:
            return words.get(value["Ref"], f"${{{value['Ref']}}}")
        inner = value.get("Fn::Sub", "")
        value = inner if isinstance(inner, str) else inner[0]
    text = str(value)
    for name, word in words.items():
        text = text.replace(f"${{{name}}}", word)
    return text


def walk(value: Any) -> Iterator[Json]:
    """Yield every mapping within a value, the outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from walk(each)
