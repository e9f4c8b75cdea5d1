"""Bundles: whole, untampered, and of the classes they claim; or refused."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from shared.vision.bundle import ARCHIVE, open_bundle, pack
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import make_bundle


def test_opens_a_folder_an_archive_and_a_folder_with_the_archive(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    pack(bundle.folder, tmp_path / "s" / ARCHIVE)
    for place in (bundle.folder, tmp_path / "s", tmp_path / "s" / ARCHIVE):
        with open_bundle(place) as opened:
            assert opened.info == bundle.info


def test_packing_twice_gives_the_same_bytes(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    for name in ("one", "two"):
        pack(bundle.folder, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("name", ["model.ts", "weights.safetensors"])
def test_a_tampered_file_is_refused(tmp_path, name):
    bundle = make_bundle(tmp_path / "b")
    path = bundle.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=f"{name} .* damaged"), open_bundle(bundle.folder):
        pass


def test_a_missing_file_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    bundle.script.unlink()
    with pytest.raises(BundleError, match=r"model.ts is missing"), open_bundle(bundle.folder):
        pass


def test_a_truncated_archive_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    pack(bundle.folder, tmp_path / ARCHIVE)
    whole = (tmp_path / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="cannot unpack"), open_bundle(tmp_path):
        pass


def test_an_archive_that_leads_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as tar:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(BundleError, match="cannot unpack"), open_bundle(tmp_path):
        pass
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_that_holds_more_than_files_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/hostname"
        tar.addfile(member)
    with pytest.raises(BundleError, match="'link' is no file"), open_bundle(tmp_path):
        pass


def test_a_model_with_fewer_classes_than_named_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b", classes=("a", "b", "c", "d"))
    with pytest.raises(BundleError, match=r"3 classes, bundle\.json names 4"):
        Predictor(bundle)


def test_names_every_file_with_its_hash_and_nothing_is_pickled(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    document = json.loads((bundle.folder / "bundle.json").read_text())
    assert set(document["files"]) == {"model.ts", "weights.safetensors"}
    assert not list(bundle.folder.rglob("*.pkl")) + list(bundle.folder.rglob("*.pt"))
