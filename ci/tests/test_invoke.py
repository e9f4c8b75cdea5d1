"""`python -m ci invoke` against a real local endpoint, by boto3 as on AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.__main__ import main
from ci.served import ours, running
from ci.tests.packages import register
from shared.component.files import sha256_of, write_json
from shared.vision.bundle import Bundle, pack
from shared.vision.tests.factories import colour_image, make_bundle
from shared.vision.tests.served import make_served_bundle

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_served_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def address(bundle: Bundle) -> Iterator[str]:
    server = ours(bundle.folder, "ours", "--telemetry", "false", "--workers", "1")
    with running(server, colour_image("red", 1)) as endpoint:
        yield f"http://127.0.0.1:{endpoint.port}"


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = []
    for name in ("red", "green"):
        (tmp_path / f"{name}.png").write_bytes(colour_image(name, 2))
        paths.append(str(tmp_path / f"{name}.png"))
    return paths


@pytest.fixture(autouse=True)
def _no_aws_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # whatever asks, asks nobody
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def _retell(bundle: Bundle, folder: Path) -> Path:
    """Write the bundle again, with another expected answer for its first golden image."""
    for name in bundle.info.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((bundle.folder / name).read_bytes())
    golden = json.loads((folder / "golden" / "golden.json").read_text())
    golden["images"][0]["probabilities"][0] += 0.25
    write_json(folder / "golden" / "golden.json", golden)
    info = json.loads((bundle.folder / "bundle.json").read_text())
    info["files"]["golden/golden.json"] = sha256_of(folder / "golden" / "golden.json")
    write_json(folder / "bundle.json", info)
    return folder


def test_a_table_has_a_row_an_image(address: str, images: list[str], capsys: Output) -> None:
    assert main(["invoke", "--endpoint", address, *images]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "label", "confidence", "entropy", "latency_ms", "version"]
    assert [row.split()[:2] for row in rows] == [[images[0], "red"], [images[1], "green"]]


def test_json_lines_have_every_field(
    address: str, bundle: Bundle, images: list[str], capsys: Output
) -> None:
    assert main(["invoke", "--endpoint", f"{address}/local", "--json", *images]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["file"], first["label"], second["label"]) == (images[0], "red", "green")
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert first["model_version"] == bundle.version
    assert first["latency_ms"] > 0
    assert first["request_id"] != second["request_id"]


def test_options_reach_the_endpoint(address: str, images: list[str], capsys: Output) -> None:
    flags = ["--top-k", "2", "--explain"]
    assert main(["invoke", "--endpoint", address, images[0], "--json", *flags]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["top"][0]["label"] == "red"
    assert len(line["top"]) == 2
    assert line["explanation"]["method"] == "occlusion"
    assert main(["invoke", "--endpoint", address, images[0], *flags]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "red 0." in row or "red 1." in row
    assert "row " in row


def test_a_wrong_image_is_one_line_and_spoils_no_other(
    address: str, images: list[str], tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "no.png").write_bytes(b"no image")
    wrong, missing = str(tmp_path / "no.png"), str(tmp_path / "missing.png")
    assert main(["invoke", "--endpoint", address, wrong, missing, images[0], "--json"]) == 1
    said = capsys.readouterr()
    assert [json.loads(line)["label"] for line in said.out.splitlines()] == ["red"]
    first, second = said.err.splitlines()
    assert first.startswith(f"error: {wrong}: 422 UndecodableImage: image: not one of")
    assert second == f"error: {missing}: No such file or directory; give an image file"


def test_a_name_asks_aws_with_credentials(
    address: str, images: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", address)
    assert main(["invoke", "--endpoint", "local", images[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "red"


@pytest.mark.parametrize(
    ("place", "region", "error"),
    [
        (
            "{address}/other",
            "",
            "invoke: endpoint other: ValidationError: Endpoint other not found",
        ),
        ("http://127.0.0.1:9", "", "invoke: cannot ask endpoint local: Could not connect"),
        ("http://127.0.0.1:none", "", "invoke: cannot reach http://127.0.0.1:none: "),
        ("ftp://127.0.0.1", "", "invoke: no address ftp://127.0.0.1; give http://host:port"),
        ("name", "", "invoke: cannot reach name: You must specify a region"),
        ("name", "eu-west-1", "invoke: cannot ask endpoint name: Unable to locate credentials"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_is_one_line(
    address: str,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    place: str,
    region: str,
    error: str,
) -> None:
    if region:
        monkeypatch.setenv("AWS_REGION", region)
    assert main(["invoke", "--endpoint", place.format(address=address), *images]) in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {error}")
    assert said.err.count("\n") == 1


def test_golden_images_of_the_served_bundle_are_answered_as_expected(
    address: str, bundle: Bundle, capsys: Output
) -> None:
    assert main(["invoke", "--endpoint", address, "--golden", str(bundle.folder)]) == 0
    assert capsys.readouterr().out.startswith("3 golden images, 0 wrong; largest difference ")


def test_golden_without_a_value_is_the_newest_approved_package(
    address: str,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    pack(bundle.folder, tmp_path / "s3" / "bucket" / "model.tar.gz")
    register(tmp_path, "colours", "model.tar.gz")
    monkeypatch.setenv("VISIONLOOP_HOME", str(tmp_path))
    assert main(["invoke", "--endpoint", address, "--json", "--golden"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["golden"], facts["wrong"]) == (3, 0)
    assert 0 <= facts["largest_difference"] < 1e-4


def test_another_answer_than_the_golden_one_is_found_and_measured(
    address: str, bundle: Bundle, tmp_path: Path, capsys: Output
) -> None:
    other = str(_retell(bundle, tmp_path))
    assert main(["invoke", "--endpoint", address, "--golden", other]) == 1
    said = capsys.readouterr()
    assert "3 golden images, 1 wrong; largest difference 0.25" in said.out
    assert said.err == "error: golden image 0.png (blue): 0.25 off\n"


def test_a_bundle_of_other_classes_is_told_from_a_damaged_one(
    address: str, bundle: Bundle, tmp_path: Path, capsys: Output
) -> None:
    other = _retell(bundle, tmp_path)
    for path in (other / "golden" / "golden.json", other / "bundle.json"):
        document = json.loads(path.read_text())
        document["classes"] = ["a", "b", "c"]
        if path.name == "bundle.json":
            document["files"]["golden/golden.json"] = sha256_of(other / "golden" / "golden.json")
        write_json(path, document)
    assert main(["invoke", "--endpoint", address, "--json", "--golden", str(other)]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"golden": 3, "wrong": 3, "largest_difference": None}
    assert said.err.count("answered with other classes; this is another model\n") == 3


def test_a_bundle_without_golden_images_proves_nothing(
    address: str, tmp_path: Path, capsys: Output
) -> None:
    make_bundle(tmp_path)
    assert main(["invoke", "--endpoint", address, "--golden", str(tmp_path)]) == 1
    assert "no golden images" in capsys.readouterr().err


def test_nothing_to_send_is_wrong_use(capsys: Output) -> None:
    assert main(["invoke", "--endpoint", "name"]) == 2
    assert "name image files, or pass --golden" in capsys.readouterr().err
