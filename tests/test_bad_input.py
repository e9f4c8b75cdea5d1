"""Bad input ends in one line that says what, where and the remedy; nothing half-written stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ci.problems import REPOSITORY
from components.preprocess.tests.factories import RawFolder, encoded, picture
from shared.component.spec import load_spec
from shared.vision.tests.factories import make_dataset

MARKERS = ("dataset.json", "bundle.json", "raw.json", "detector.json", "evaluation.json")
SMALL = "sample://scenes?images=60&test=12&size=64"


@dataclass(frozen=True)
class Failed:
    """A child process that complained: its exit status, its one line, all of its output."""

    status: int
    complaint: str
    output: str


def run(
    *words: str, environ: dict[str, str] | None = None, through: tuple[str, ...] = ()
) -> Failed:
    """Run `python WORDS`; the complaint is its only line that starts with `error:`.

    through: a command that runs the rest of its line.
    """
    done = subprocess.run(
        [*through, sys.executable, *words],
        cwd=REPOSITORY,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(complaints) <= 1, done.stderr
    return Failed(done.returncode, "".join(complaints), done.stdout + done.stderr)


@dataclass(frozen=True)
class Workbench:
    """A folder for the outputs of one component."""

    folder: Path

    def component(
        self, name: str, *flags: str, out: Path | None = None, **kwargs: object
    ) -> Failed:
        """Run a component with its outputs below `out`; assert that no trace is shown."""
        spec = load_spec(REPOSITORY / "components" / name)
        places = [w for p in spec.outputs.values() for w in (p.flag, str(self.output(p.name, out)))]
        # Flags come last: a test may name an output itself.
        failed = run("-m", f"components.{name}", *places, *flags, **kwargs)
        assert "Traceback" not in failed.output
        return failed

    def output(self, port: str, out: Path | None = None) -> Path:
        return (out or self.folder / "out") / port

    def left(self) -> list[Path]:
        """Return what a later run would trust."""
        return [path for path in self.folder.rglob("*") if path.name in MARKERS]


@pytest.fixture
def bench(tmp_path) -> Workbench:
    return Workbench(tmp_path / "bench")


@pytest.fixture
def raw(tmp_path) -> RawFolder:
    return RawFolder(tmp_path / "raw")


def test_an_empty_data_set(bench, tmp_path):
    (tmp_path / "empty").mkdir()
    failed = bench.component("fetch_data", "--train", str(tmp_path / "empty"))
    assert failed.status == 1
    assert f"no images in class folders at {tmp_path}/empty" in failed.complaint
    assert "expected <class>/*.jpg" in failed.complaint
    assert bench.left() == []


def test_an_unreadable_zip(bench, tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK\x03\x04" + b"junk" * 300)
    failed = bench.component("fetch_data", "--train", str(tmp_path / "images.zip"))
    assert failed.status == 1
    assert "images.zip is no archive or a damaged one; give a zip, tar" in failed.complaint
    assert bench.left() == []


def test_a_class_with_one_image(bench, raw):
    raw.fill("train")
    raw.fill("test", "sea street fog", count=2)
    raw.add("train/fog/1.jpg", encoded(picture(8888)))
    failed = bench.component("preprocess", "--raw", str(raw.folder))
    assert failed.status == 1
    assert "class 'fog' has 1 usable training images" in failed.complaint
    assert "add images or remove the class" in failed.complaint
    assert bench.left() == []


def test_a_class_in_test_that_train_lacks(bench, raw):
    raw.fill("train")
    raw.fill("test", "sea street fog", count=2)
    failed = bench.component("preprocess", "--raw", str(raw.folder))
    assert failed.status == 1
    assert "class fog has test images but no usable training" in failed.complaint
    assert bench.left() == []


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data")).folder


def test_an_unknown_model_name(bench, dataset):
    flags = ("--dataset", str(dataset), "--model-name", "mobilenetv3_smal_050")
    failed = bench.component("train", *flags, "--pretrained", "none")
    assert failed.status == 2
    assert "'mobilenetv3_smal_050'" in failed.complaint
    assert "nearest: mobilenetv3_small_050" in failed.complaint
    assert bench.left() == []


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--epochs", "0", "train: parameter 'epochs' is 0; the least is 1"),
        ("--epochs", "ten", "train: parameter 'epochs' takes a whole number, not 'ten'"),
        ("--learning-rate", "nan", "train: parameter 'learning_rate' takes a number, not 'nan'"),
        ("--precision", "8", "choose one of auto, 32-true, bf16-mixed, 16-mixed"),
    ],
)
def test_an_impossible_parameter(bench, dataset, flag, value, message):
    failed = bench.component("train", "--dataset", str(dataset), flag, value)
    assert failed.status == 2
    assert message in failed.complaint


def test_an_input_that_is_not_there(bench, tmp_path):
    failed = bench.component("train", "--dataset", str(tmp_path / "nowhere"))
    assert failed.status == 1
    assert f"input 'dataset' (Dataset) is missing: {tmp_path}/nowhere" in failed.complaint
    assert "pass --dataset FOLDER" in failed.complaint


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Yield the environment of an account with one empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="images")
    client.close()
    yield {name.upper(): value for name, value in keys.items()} | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


@pytest.mark.parametrize("uri", ["s3://images/train.zip", "s3://no-such-bucket/train"])
def test_a_missing_s3_object(bench, aws, uri):
    failed = bench.component("fetch_data", "--train", uri, environ=aws)
    assert failed.status == 1
    assert f"nothing at {uri}; check the location" in failed.complaint
    assert bench.left() == []


def test_an_output_folder_with_a_file_in_its_way(bench, tmp_path):
    (tmp_path / "file").write_text("")
    failed = bench.component("fetch_data", "--train", SMALL, out=tmp_path / "file")
    assert failed.status == 1
    assert f"cannot write output 'raw' to {tmp_path}/file/raw: Not a directory" in failed.complaint
    assert "pass --raw with a folder that can be written" in failed.complaint


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Yield a disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"needs the right to mount a small disk: {err}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


ROOM = "; free some space or mount a larger volume"


def test_no_space_left_for_fetched_images(bench, small_disk):
    failed = bench.component("fetch_data", "--train", SMALL, out=small_disk)
    assert failed.status == 1
    assert "fetch_data: No space left on device" in failed.complaint
    assert failed.complaint.endswith(ROOM)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_no_space_left_for_a_model(bench, dataset, small_disk, tmp_path):
    small = ("--pretrained", "none", "--image-size", "32", "--epochs", "1", "--workers", "0")
    model = ("--model", str(small_disk / "model"))
    failed = bench.component("train", "--dataset", str(dataset), *small, *model)
    assert failed.status == 1
    assert failed.complaint == f"error: train: No space left on device: {small_disk}/model{ROOM}"
    assert not (small_disk / "model" / "bundle.json").exists()


def test_no_space_left_for_shards(bench, raw):
    """A limit on the size of a file stands in for a full disk where nobody may mount one."""
    raw.fill("train", count=40)
    raw.fill("test", count=4)
    limited = ("bash", "-c", 'ulimit -f 20; exec "$@"', "bash")  # blocks of 1,024 bytes
    failed = bench.component("preprocess", "--raw", str(raw.folder), through=limited)
    assert failed.status == 1
    assert "preprocess: File too large" in failed.complaint
    assert failed.complaint.endswith(ROOM)
    assert bench.left() == []


def start(home: Path, train: str) -> Failed:
    words = ("--upsert", "--start", "--backend", "local", "-p", f"TrainDataset={train}")
    return run("pipeline.py", *words, environ={"VISIONLOOP_HOME": str(home)})


def trusted(home: Path) -> list[Path]:
    """Return cache entries, and artifacts that steps have published."""
    entries = [path for path in (home / "cache").glob("*.json") if path.name != "hashes.json"]
    return entries + [path for path in (home / "s3").rglob("*") if path.name in MARKERS]


def test_the_pipeline_names_the_step_its_reason_and_its_log(tmp_path):
    home, train = tmp_path / "home", tmp_path / "images"
    train.mkdir()
    failed = start(home, str(train))
    assert failed.status == 1
    (reason,) = [line for line in failed.output.splitlines() if line.startswith("FetchData failed")]
    assert f"no images in class folders at {train}" in reason
    (log,) = [line.split()[1] for line in failed.output.splitlines() if line.startswith("  log:")]
    assert "no images in class folders" in Path(log).read_text()
    assert trusted(home) == []
    assert start(home, str(train)).status == 1  # the failure was not kept as an answer


def test_the_pipeline_leaves_nothing_of_a_step_that_found_no_room(small_disk):
    failed = start(small_disk / "home", SMALL)
    assert failed.status == 1
    assert "No space left on device" in failed.output
    assert "Traceback" not in failed.output
    assert trusted(small_disk / "home") == []


def test_the_pipeline_refuses_an_impossible_home(tmp_path):
    (tmp_path / "home").write_text("")
    failed = start(tmp_path / "home", SMALL)
    assert failed.status == 1
    assert f"{tmp_path}/home" in failed.complaint
    assert "Traceback" not in failed.output
