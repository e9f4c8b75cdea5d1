"""The Model artifact: one reader, one writer.

    bundle.json           classes in order, transform, temperature, metrics, sha256 of files
    model.ts              TorchScript: float32 [B, 3, S, S] -> (logits, embedding)
    model.onnx            the same network for ONNX Runtime, where its parity is proven
    weights.safetensors   the same weights, to fine-tune from
    detector/             drift detector (final bundle)
    golden/               images with their expected probabilities (final bundle)

Nothing is pickled. bundle.json is written last and names every file with its
sha256, so a half-written or tampered bundle is refused.
"""

from __future__ import annotations

import errno
import gzip
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.component.files import atomic, sha256_of, write_json
from shared.vision.errors import BundleError
from shared.vision.transform_spec import TransformSpec

SCHEMA_VERSION = 1
ONNX = "model.onnx"
ARCHIVE = "model.tar.gz"  # the name SageMaker gives a packed model


@dataclass(frozen=True)
class BundleInfo:
    """bundle.json.

    temperature: logits are divided by it before the softmax.
    parity: largest absolute difference of logits, TorchScript against eager.
    onnx_parity: largest absolute difference of logits, embeddings and probabilities, ONNX
        against TorchScript; None where there is no model.onnx to serve from.
    metrics: scalars by name, validation (train) and test (evaluate).
    dataset_fingerprint, test_fingerprint: of the data set it was trained on.
    files: sha256 by path inside the bundle.
    """

    classes: tuple[str, ...]
    transform: TransformSpec
    model_name: str
    embedding_size: int
    parity: float
    dataset_fingerprint: str
    test_fingerprint: str
    code_version: str
    onnx_parity: float | None = None
    temperature: float = 1.0
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its files checked."""

    folder: Path
    info: BundleInfo

    @property
    def script(self) -> Path:
        return self.folder / "model.ts"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def onnx(self) -> Path | None:
        """Return model.onnx where bundle.json names it and its parity; else None."""
        is_proven = self.info.onnx_parity is not None and ONNX in self.info.files
        return self.folder / ONNX if is_proven else None

    @property
    def version(self) -> str:
        """Name the bundle by its content; bundle.json holds the hash of every other file."""
        return sha256_of(self.folder / "bundle.json")[:12]


def write_bundle(folder: Path, info: BundleInfo) -> Bundle:
    """Write bundle.json for the files that already lie in `folder`."""
    files = {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "bundle.json"
    }
    document = asdict(info) | {"files": files}
    write_json(folder / "bundle.json", document)
    return _read(folder)


def pack(folder: Path, archive: Path) -> None:
    """Pack a bundle to a tar.gz whose bytes depend on the content alone."""
    with (
        atomic(archive) as aside,
        aside.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(str(path.relative_to(folder)))
                member.size = path.stat().st_size
                with path.open("rb") as stream:
                    tar.addfile(member, stream)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle folder, a folder that holds model.tar.gz, or the archive itself.

    Raises:
        BundleError: something is missing, damaged, tampered with or of another schema.
    """
    archive = path / ARCHIVE if path.is_dir() else path
    if not archive.is_file():
        yield _read(path)
        return
    scratch = Path(tempfile.mkdtemp(prefix="bundle-"))
    try:
        _unpack(archive, scratch)
        yield _read(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            _extract(tar, folder)
    except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as err:
        if isinstance(err, OSError) and err.errno == errno.ENOSPC:
            raise  # the disk, not the bundle: the runtime explains it
        raise BundleError(f"bundle: cannot unpack {archive}: {err}; train again") from err


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Write the files of an archive; refuse links and paths that lead outside.

    tarfile's own filters came with Python 3.11.4, and Debian 12 has 3.11.2.
    """
    for member in tar:
        target = (folder / member.name).resolve()
        if member.isdir():
            continue
        content = tar.extractfile(member) if member.isreg() else None
        if content is None or not target.is_relative_to(folder.resolve()):
            raise tarfile.ExtractError(f"{member.name!r} is no file below the bundle's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as sink:
            shutil.copyfileobj(content, sink)


def _read(folder: Path) -> Bundle:
    path = folder / "bundle.json"
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as err:
        raise BundleError(f"bundle: no bundle.json in {folder}; give the output of train") from err
    except ValueError as err:
        raise BundleError(f"bundle: {path} is no JSON: {err}; train again") from err
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"bundle: {path} has schema version {version}, this code reads {SCHEMA_VERSION}"
        )
    try:
        transform = TransformSpec.from_dict(document["transform"])
        fields = document | {"transform": transform, "classes": tuple(document["classes"])}
        info = BundleInfo(**fields)
        _check_files(folder, dict(info.files))
    except (KeyError, TypeError, ValueError) as err:
        raise BundleError(f"bundle: {path} has wrong fields: {err}; train again") from err
    return Bundle(folder, info)


def _check_files(folder: Path, files: dict[str, str]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"bundle: {name} is missing from {folder}; train again")
        if sha256_of(path) != expected:
            raise BundleError(f"bundle: {name} in {folder} is damaged: its sha256 differs")
    for required in ("model.ts", "weights.safetensors"):
        if required not in files:
            raise BundleError(f"bundle: {required} is missing from {folder}; train again")
