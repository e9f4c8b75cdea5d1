"""python -m ci sbom [COMPONENT ...]: what is in each image, as CycloneDX JSON.

Lists Python's packages and the system's, as the image itself has them installed, and checks
the document against CycloneDX's schema. Files go to .visionloop/sbom/COMPONENT.cdx.json; the
same image gives the same file. Prints {component: file} as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci.build import add_build_options, build_chosen
from ci.engine import Engine, connect
from ci.errors import SbomError
from ci.images import Recipe
from ci.locks import normal
from ci.problems import REPOSITORY
from shared.component.files import write_text
from shared.pipeline.settings import Settings

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

Json = dict[str, Any]
Packages = dict[str, list[Json]]
_VENDORS = {"deb": "debian", "rpm": "amzn"}
_PROBE = Path(__file__).parent / "package_probe.py"
_SPACE = uuid.UUID("b6f41db0-5a44-5c34-9f6e-1f1b4cf1a5b2")  # ours, for numbers made of digests


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Write the chosen images' bills of material."""
    parser = argparse.ArgumentParser(
        prog="python -m ci sbom",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_build_options(parser)
    arguments = parser.parse_args(argv)
    engine = connect()
    folder = Settings.from_environ().home / "sbom"
    written = {}
    for recipe in build_chosen(arguments, engine, root):
        path = folder / f"{recipe.spec.name}.cdx.json"
        write_text(path, bill_of(recipe, engine))
        written[recipe.spec.name] = str(path)
    sys.stdout.write(json.dumps(written, indent=2) + "\n")
    return 0


def bill_of(recipe: Recipe, engine: Engine) -> str:
    """Return an image's bill of materials.

    Raises:
        SbomError: the image does not list its packages.
    """
    image = engine.image(recipe.name) or {}
    name, version = recipe.name.rsplit(":", 1)
    return document(name, version, image, probe(recipe.name, engine))


def probe(reference: str, engine: Engine) -> Packages:
    """Ask an image what is installed in it.

    Raises:
        SbomError: it has no Python, or says something else.
    """
    ended = engine.run(reference, ["-c", _PROBE.read_text()], entrypoint=["python"])
    try:
        found: Packages = json.loads(ended.stdout)
    except ValueError as err:
        raise SbomError(
            f"sbom: {reference} does not list its packages: {ended.stderr.strip()[-300:]}"
        ) from err
    return found


def document(name: str, version: str, image: Json, packages: Packages) -> str:
    """Write a CycloneDX document of an image's packages.

    image: as `docker image inspect` tells; its Id and Created make the same image's
        documents equal.
    Raises:
        SbomError: CycloneDX's own schema refuses the document.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    subject = Component(type=ComponentType.CONTAINER, name=name, version=version, bom_ref=name)
    made = datetime.fromisoformat(f"{image['Created'][:19]}+00:00")
    bom = Bom(
        serial_number=uuid.uuid5(_SPACE, image["Id"]),
        metadata=BomMetaData(component=subject, timestamp=made),
        components=[*_python(packages["python"]), *_system(packages["system"])],
    )
    bom.register_dependency(subject, bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if refused := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SbomError(f"sbom: {name}: the document is no CycloneDX 1.6: {refused.data}")
    return text


def _python(packages: list[Json]) -> Iterator[Component]:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    for package in packages:
        # https://github.com/package-url/purl-spec: PyPI's names are lower-case, with dashes.
        url = PackageURL("pypi", None, normal(package["name"]), package["version"])
        yield Component(
            name=package["name"],
            version=package["version"],
            purl=url,
            bom_ref=str(url),
            licenses=[LicenseFactory().make_from_string(package["license"])]
            if package["license"]
            else [],
        )


def _system(packages: list[Json]) -> Iterator[Component]:
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    for package in packages:
        qualifiers = {"arch": package["arch"]}
        vendor = _VENDORS[package["kind"]]
        url = PackageURL(package["kind"], vendor, package["name"], package["version"], qualifiers)
        yield Component(
            name=package["name"], version=package["version"], purl=url, bom_ref=str(url)
        )
