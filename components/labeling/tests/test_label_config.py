"""Label Studio's configuration: written, read, compared."""

from __future__ import annotations

import pytest

from components.labeling.errors import ConfigError
from components.labeling.label_config import check_labels, read_config, write_config

IMAGE = "<Image name='i' value='$i'/>"
CHOICE = "<Choice value='a'/>"
CHOICES = f"<Choices name='c' toName='i'>{CHOICE}</Choices>"
ODD = ("a & b", '"quoted"', "<tag>", "grün", "two words")


def test_what_is_written_is_read_with_odd_names_unchanged() -> None:
    config = read_config(write_config(ODD))
    assert config.labels == ODD
    assert (config.from_name, config.to_name, config.data_key) == ("label", "image", "image")


def test_a_project_that_people_have_arranged_is_read_by_its_own_names() -> None:
    config = read_config(
        '<View><Header value="Look!"/><Image name="pic" value="$photo"/>'
        '<Text name="t" value="$note"/>'
        '<Choices name="other" toName="t"><Choice value="x"/></Choices>'
        '<View><Choices name="kind" toName="pic"><Choice value="Sea view" alias="sea"/>'
        '<Choice value="land"/></Choices></View></View>'
    )
    assert (config.from_name, config.to_name, config.data_key) == ("kind", "pic", "photo")
    assert config.labels == ("sea", "land")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        f"<View>{IMAGE}</View>",
        f"<View><Image name='i' value=''/>{CHOICES}</View>",
        f"<View>{IMAGE}<Choices name='c' toName='i'><Choice/></Choices></View>",
        f"<View>{IMAGE}<Choices name='c' toName='i'>{CHOICE}{CHOICE}</Choices></View>",
        f"<View>{IMAGE}{CHOICES}{CHOICES}</View>",
        '<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><View>&b;</View>',
        '<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>',
    ],
)
def test_a_configuration_that_does_not_ask_one_thing_of_one_image_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="run setup"):
        read_config(text)


def test_labels_are_compared_as_sets_and_differences_are_named() -> None:
    config = read_config(write_config(("a", "b")))
    check_labels(config, ("b", "a"))
    with pytest.raises(ConfigError, match="only the model has 'c'; only the project has 'b'"):
        check_labels(config, ("a", "c"))
    many = tuple(f"class {n}" for n in range(1000))
    with pytest.raises(ConfigError, match="and 988 more") as refused:
        check_labels(config, ("a", "b", *many))
    assert len(str(refused.value)) < 500
