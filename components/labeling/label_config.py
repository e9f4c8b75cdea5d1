"""Label Studio's labelling configuration: XML, written from the model's labels, read with care.

Written here is one image with one list of choices. Read is whatever a project has: which
control takes the label, of which object, and which labels it offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from components.labeling.errors import ConfigError

_SHOWN = 12  # labels in a message


@dataclass(frozen=True)
class LabelConfig:
    """What a project asks of an image.

    from_name, to_name: names of the control and of the object it is about.
    data_key: field of a task's data that holds the image.
    """

    from_name: str
    to_name: str
    data_key: str
    labels: tuple[str, ...]


def write_config(labels: Sequence[str]) -> str:
    """Return the configuration of a project that asks which of `labels` an image shows."""
    choices = "".join(f"    <Choice value={quoteattr(label)}/>\n" for label in labels)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        '  <Choices name="label" toName="image" choice="single" required="true"'
        ' showInline="true">\n'
        f"{choices}  </Choices>\n</View>\n"
    )


def read_config(text: str) -> LabelConfig:
    """Read a configuration with one image and one list of choices.

    Raises:
        ConfigError: it is no XML, is XML that attacks its reader, or asks something else.
    """
    try:
        tree = ElementTree.fromstring(text, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as err:
        raise ConfigError(f"label config: no XML that is read: {err!r}; run setup") from err
    images = {element.get("name", ""): element for element in tree.iter("Image")}
    controls = [c for c in tree.iter("Choices") if c.get("toName", "") in images]
    if len(controls) != 1:
        raise ConfigError(
            f"label config: {len(controls)} Choices about an Image, one is needed; run setup"
        )
    control = controls[0]
    to_name = control.get("toName", "")
    labels = [c.get("alias") or c.get("value") or "" for c in control.iter("Choice")]
    data_key = images[to_name].get("value", "").removeprefix("$")
    if not data_key or not control.get("name") or not labels or "" in labels:
        raise ConfigError("label config: a name, value or choice is empty; run setup")
    if len(set(labels)) != len(labels):
        raise ConfigError("label config: a choice is there twice; run setup")
    return LabelConfig(control.get("name", ""), to_name, data_key, tuple(labels))


def check_labels(config: LabelConfig, labels: Sequence[str]) -> None:
    """See that a project offers the model's labels and no others, in any order.

    Raises:
        ConfigError: it does not; the message names those that only one side has.
    """
    offered, known = set(config.labels), set(labels)
    if offered == known:
        return
    sides = [
        f"{who} {_few(names)}"
        for who, names in (
            ("only the model has", known - offered),
            ("only the project has", offered - known),
        )
        if names
    ]
    raise ConfigError(
        f"labels differ: {'; '.join(sides)}; run `python -m components.labeling setup`"
    )


def _few(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(map(repr, shown)) + (f" and {more} more" if more else "")
