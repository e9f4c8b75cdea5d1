from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.fetch_data.image_folders import find_images, lay_out


def _found(root: Path) -> dict[str, tuple[str | None, str | None]]:
    images = find_images(root).images
    return {image.location.as_posix(): (image.split, image.class_name) for image in images}


@pytest.mark.parametrize(
    ("path", "split", "class_name"),
    [
        ("seg_train/seg_train/sea/1.jpg", "train", "sea"),
        ("seg_test/seg_test/sea/1.jpg", "test", "sea"),
        ("seg_pred/seg_pred/1.jpg", "unlabelled", None),
        ("archive/data/train/sea/1.jpg", "train", "sea"),
        ("training_set/training_set/sea/1.jpg", "train", "sea"),
        ("Validation/sea/1.jpg", "train", "sea"),
        ("test/sea/1.PNG", "test", "sea"),
    ],
)
def test_reads_split_and_class_from_folders(write_tree, path, split, class_name) -> None:
    street = path.replace("sea", "street")
    assert _found(write_tree(path, street))[path] == (split, class_name)


def test_reads_a_folder_per_class_inside_wrappers(write_tree) -> None:
    root = write_tree("a/b/sea/1.jpg", "a/b/street/1.jpg", "a/b/street/old/2.jpg")
    assert {class_name for _, class_name in _found(root).values()} == {"sea", "street"}


def test_a_class_may_be_called_train(write_tree) -> None:
    root = write_tree("car/1.jpg", "bullet train/1.jpg", "train/1.jpg", "test tube/1.jpg")
    assert {found[1] for found in _found(root).values()} == {
        *("car", "bullet train", "train", "test tube")
    }


def test_images_of_a_test_folder_without_classes_have_no_class(write_tree) -> None:
    root = write_tree("train/sea/1.jpg", "train/street/1.jpg", "test/1.jpg")
    findings = find_images(root)
    assert [image.split for image in findings.images] == ["train", "train"]
    assert findings.skipped == {"test/1.jpg": "in no class folder"}


def test_leaves_out_junk_and_names_what_is_no_image(write_tree) -> None:
    root = write_tree(
        *("sea/1.jpg", "street/1.jpg", "__MACOSX/sea/._1.jpg", "sea/.DS_Store"),
        *("sea/Thumbs.db", "sea/notes.txt"),
    )
    findings = find_images(root)
    assert len(findings.images) == 2
    assert findings.skipped == {"sea/notes.txt": "no image"}


def test_never_follows_a_link_out_of_the_folder(write_tree) -> None:
    secret = write_tree("secret.jpg", folder="elsewhere")
    root = write_tree("sea/1.jpg", "street/1.jpg")
    (root / "sea" / "link.jpg").symlink_to(secret / "secret.jpg")
    (root / "folder").symlink_to(secret)
    findings = find_images(root)
    assert len(findings.images) == 2
    assert findings.skipped == {"sea/link.jpg": "a link", "folder": "a link"}


def test_skips_a_name_that_is_not_utf8(write_tree) -> None:
    root = write_tree("sea/1.jpg", "street/1.jpg")
    os.link(root / "sea/1.jpg", os.fsencode(root / "sea") + b"/\xff.jpg")
    assert list(find_images(root).skipped.values()) == ["its name is not UTF-8"]


def test_lays_out_both_when_two_folders_use_one_name(write_tree, tmp_path: Path) -> None:
    root = write_tree("train/sea/1.jpg", "val/sea/1.jpg", "train/street/1.jpg")
    counts = lay_out(find_images(root).images, tmp_path / "out")
    assert counts == {"sea": 2, "street": 1}
    assert sorted(p.name for p in (tmp_path / "out" / "sea").iterdir()) == ["1-2.jpg", "1.jpg"]
