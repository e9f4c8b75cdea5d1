from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.fetch_data import archives
from components.fetch_data.archives import is_archive, unpack
from components.fetch_data.errors import ArchiveError

GIGABYTE = 10**9


def _refused(archive: Path, tmp_path: Path, reason: str, max_bytes: int = GIGABYTE) -> str:
    """Check that an archive is refused in one line and that nothing of it stays."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(archive, tmp_path / "out", max_bytes)
    assert sorted(tmp_path.rglob("*")) == before
    assert archive.name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _zip_info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix: the mode counts
    info.external_attr = mode << 16
    return info


def _write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_unpacks_a_zip(write_zip, tmp_path: Path, jpeg: bytes) -> None:
    folder = unpack(write_zip("sea/1.jpg", "sea/2.jpg", "street/"), tmp_path / "out", GIGABYTE)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")}
    assert files == {"sea/1.jpg": jpeg, "sea/2.jpg": jpeg}


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_unpacks_tars(suffix: str, tmp_path: Path) -> None:
    mode = "w:" + suffix.partition(".")[2]
    path = _write_tar(tmp_path / f"x.{suffix}", (tarfile.TarInfo("sea/1.jpg"), b"1"), mode=mode)
    assert is_archive(path)
    assert (unpack(path, tmp_path / "out", GIGABYTE) / "sea/1.jpg").read_bytes() == b"1"


def test_keeps_utf8_names_that_are_not_flagged(write_zip, tmp_path: Path) -> None:
    archive = write_zip("gr__e/1.jpg")
    archive.write_bytes(archive.read_bytes().replace(b"gr__e", "gröe".encode()))  # as macOS does
    assert (unpack(archive, tmp_path / "out", GIGABYTE) / "gröe/1.jpg").is_file()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.jpg", "leaves the folder"),
        ("sea/../../evil.jpg", "leaves the folder"),
        ("sea\\..\\..\\evil.jpg", "leaves the folder"),
        ("/etc/evil.jpg", "absolute"),
        ("C:\\evil.jpg", "absolute"),
        ("sea/\x1b[31m.jpg", "control character"),
    ],
)
def test_refuses_names_that_lead_elsewhere(
    write_zip, tmp_path: Path, name: str, reason: str
) -> None:
    _refused(write_zip("good/1.jpg", name), tmp_path, reason)


def test_refuses_the_same_names_in_a_tar(tmp_path: Path) -> None:
    good = (tarfile.TarInfo("sea/1.jpg"), b"1")
    for name, reason in (("../evil", "leaves"), ("/evil", "absolute"), ("sea/1.jpg", "twice")):
        archive = _write_tar(tmp_path / "x.tar", good, (tarfile.TarInfo(name), b"2"))
        _refused(archive, tmp_path, reason)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_refuses_links_and_devices_in_a_zip(write_zip, tmp_path: Path, kind: int) -> None:
    _refused(write_zip(_zip_info("link.jpg", kind | 0o777)), tmp_path, "link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_refuses_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("link.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    _refused(_write_tar(tmp_path / "x.tar", (info, b"")), tmp_path, "link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_refuses_a_name_used_twice(write_zip, tmp_path: Path) -> None:
    _refused(write_zip("sea/1.jpg", "sea/1.jpg"), tmp_path, "twice")


def test_refuses_a_file_that_is_a_folder_too(write_zip, tmp_path: Path) -> None:
    _refused(write_zip("sea", "sea/1.jpg"), tmp_path, "at once")


def test_refuses_an_encrypted_member(write_zip, tmp_path: Path) -> None:
    archive = write_zip("sea/1.jpg")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    _refused(archive, tmp_path, "encrypted")


def test_refuses_names_that_are_not_utf8(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sea/\udcff.jpg")
    with tarfile.open(tmp_path / "x.tar", "w", errors="surrogateescape") as archive:
        archive.addfile(info, io.BytesIO(b""))
    _refused(tmp_path / "x.tar", tmp_path, "not UTF-8")


def test_refuses_what_grows_beyond_the_limit(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("big.bmp", bytes(100_000))
    _refused(archive, tmp_path, "max_download_gb", max_bytes=99_999)


def test_counts_what_is_unpacked_not_what_the_header_says(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    _write_tar(archive, (tarfile.TarInfo("big.bmp"), bytes(5_000_000)), mode="w:gz")
    _refused(archive, tmp_path, "max_download_gb", max_bytes=4_999_999)


def test_refuses_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 1_000_000)
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("bomb.bmp", bytes(5_000_000))
    _refused(archive, tmp_path, "bomb")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_refuses_a_truncated_archive(write_zip, tmp_path: Path, cut: float) -> None:
    archive = write_zip(*(f"sea/{n}.jpg" for n in range(9)))
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * cut)])
    _refused(archive, tmp_path, "damaged")


def test_refuses_a_member_with_a_wrong_checksum(write_zip, tmp_path: Path, jpeg: bytes) -> None:
    archive = write_zip("sea/1.jpg")
    data = archive.read_bytes()
    archive.write_bytes(data.replace(jpeg, jpeg[:-3] + b"???"))
    _refused(archive, tmp_path, "CRC")


def test_members_that_lie_before_the_beginning_are_damage(write_zip, tmp_path: Path) -> None:
    archive = write_zip("sea/1.jpg")
    data = bytearray(archive.read_bytes())
    place = data.rindex(b"PK\x05\x06") + 16  # offset of the directory, in its end record
    offset = int.from_bytes(data[place : place + 4], "little")
    data[place : place + 4] = (offset + 10).to_bytes(4, "little")
    archive.write_bytes(data)
    _refused(archive, tmp_path, "is damaged")


@given(data=st.binary(max_size=400), position=st.floats(0, 1))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_anywhere_never_leaves_the_folder(
    write_zip, tmp_path: Path, data: bytes, position: float
) -> None:
    archive = write_zip("sea/1.jpg", "street/2.jpg")
    whole = bytearray(archive.read_bytes())
    start = int(position * len(whole))
    whole[start : start + len(data)] = data
    archive.write_bytes(whole)
    target = tmp_path / "out"
    try:
        unpack(archive, target, GIGABYTE)
    except ArchiveError:
        assert not target.exists()
    else:
        shutil.rmtree(target)
    assert list(tmp_path.iterdir()) == [archive]
