"""A component.yaml says exactly one thing, or is refused with the reason."""

from __future__ import annotations

import pytest

from shared.component.errors import SpecError, UsageError
from shared.component.port import Port
from shared.component.spec import load_spec
from shared.component.tests.factories import DECLARATION, MakeFolder

WRONG = {
    "is no YAML": ("name: sheep", "name: [sheep"),
    "unknown key 'inptus'; did you mean 'inputs'": ("inputs:", "inptus:"),
    "unknown key 'defualt'; did you mean 'default'": ("default: 3", "defualt: 3"),
    "kind is 'cron'; choose one of processing": ("kind: processing", "kind: cron"),
    "'description' is missing": ("description: Count sheep.", ""),
    "inputs.jumps: description is missing": (', description: "Jumps a sheep."', ""),
    "type is 'int'; choose one of RawImages": ("type: integer", "type: int"),
    "default contradicts the declaration": ("default: 3", "default: 30"),
    "takes a whole number, not '3.0'": ("default: 3", 'default: "3.0"'),
    "choose one of white, black": ("default: white", "default: pink"),
    "an artifact has no default": ("{type: Dataset,", "{type: Dataset, default: x,"),
    "output 'tally' is no artifact": ("type: Report", "type: string"),
    "flock is both input and output": ("  tally:", "  flock:"),
    "a port's name is lower-case": ("  height:", "  Height:"),
    "name is 'goats', the folder is 'sheep'": ("name: sheep", "name: goats"),
    "metric 'f1' needs one group": ("outputs:", "metrics: {f1: 'f1=[0-9]+'}\noutputs:"),
    "resources: unknown key 'gpus'": ("outputs:", "resources: {gpus: 1}\noutputs:"),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_declaration_is_refused_with_the_reason(
    component: MakeFolder, message: str
) -> None:
    text = DECLARATION.format(name="sheep", kind="processing")
    before, after = WRONG[message]
    wrong = text.replace(before, after)
    assert wrong != text
    with pytest.raises(SpecError) as caught:
        load_spec(component(wrong))
    assert message in str(caught.value)


def test_a_missing_declaration_is_named(component: MakeFolder) -> None:
    folder = component()
    (folder / "component.yaml").unlink()
    with pytest.raises(SpecError, match=r"component\.yaml is missing"):
        load_spec(folder)


def test_a_declaration_that_is_a_list_is_refused(component: MakeFolder) -> None:
    with pytest.raises(SpecError, match="holds no mapping"):
        load_spec(component("- sheep"))


def test_ports_keep_their_order_and_know_what_they_are(component: MakeFolder) -> None:
    spec = load_spec(component())
    assert list(spec.artifacts) == ["flock", "fence"]
    assert list(spec.parameters) == ["jumps", "height", "asleep", "colour"]
    assert [port.is_required for port in spec.artifacts.values()] == [True, False]
    assert spec.resources.instance_count == 1


def test_an_unknown_port_names_the_nearest(component: MakeFolder) -> None:
    spec = load_spec(component())
    with pytest.raises(SpecError, match="no input 'jump'; did you mean 'jumps'"):
        spec.input("jump")
    with pytest.raises(SpecError, match="no output 'zzz'; it has tally"):
        spec.output("zzz")


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("integer", "7", 7),
        ("integer", " -7 ", -7),
        ("number", "1e-3", 0.001),
        ("number", 2, 2.0),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("boolean", False, False),
        ("string", "0", "0"),
    ],
)
def test_text_becomes_the_declared_type(
    type_name: str, text: str | float | bool, value: object
) -> None:
    parsed = Port("x", type_name, "X.").parse(text, "sheep")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("integer", "1.5"),
        ("integer", "1e3"),
        ("integer", ""),
        ("integer", True),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "half"),
        ("number", True),
        ("boolean", "yes"),
        ("boolean", "1"),
        ("boolean", ""),
    ],
)
def test_text_that_is_no_such_value_is_refused(type_name: str, text: str | bool) -> None:
    with pytest.raises(UsageError, match=f"sheep: parameter 'x' takes .*, not {text!r}"):
        Port("x", type_name, "X.").parse(text, "sheep")


@pytest.mark.parametrize(("text", "limit"), [("0", "the least is 1"), ("10", "the most is 9")])
def test_a_number_beyond_its_limits_is_refused(text: str, limit: str) -> None:
    port = Port("jumps", "integer", "Jumps.", minimum=1, maximum=9)
    with pytest.raises(UsageError, match=limit):
        port.parse(text, "sheep")
    assert [port.parse(edge, "sheep") for edge in ("1", "9")] == [1, 9]
