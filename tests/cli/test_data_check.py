"""Everything that ``maskexp data check`` can find, through the real command: what it says, where, and its exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.data import WaterBirds
from maskexp.data.manifest.examine import KINDS
from tests.cli.conftest import Command
from tests.fixtures import resize_image, truncate, write_csv, write_cub, write_waterbirds


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny WaterBirds, and its boxes in CUB_200_2011 beside it."""
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    root = write_waterbirds(tmp_path / "birds")
    kept = shutil.copytree(root / "segmentations", tmp_path / "kept")
    write_cub(tmp_path / "CUB_200_2011", root)
    shutil.copytree(kept, root / "segmentations")
    return root


def images(root: Path) -> list[Path]:
    return sorted(root.glob("[01]*/*.jpg"))


def masks(root: Path) -> list[Path]:
    return sorted((root.parent / "CUB_200_2011/segmentations").glob("*/*.png"))


def fill(path: Path, level: int) -> None:
    with Image.open(path) as mask:
        size = mask.size
    Image.new("L", size, level).save(path)


def as_rgb(path: Path) -> None:
    with Image.open(path) as mask:
        colours = mask.convert("RGB")
    colours.save(path)


def as_png(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
    image.save(path, format="PNG")


def first_box(root: Path, line: str) -> None:
    path = root.parent / "CUB_200_2011/bounding_boxes.txt"
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))


def repeat(root: Path) -> None:
    """Give a test bird the image, and the mask, of a training bird."""
    for some in (images(root), masks(root)):
        shutil.copy(next(path for path in some if "_0001" in path.stem), next(p for p in some if "_0029" in p.stem))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: images(root)[3].unlink(), "error: 1 files are missing"),
    "corrupt": (lambda root: truncate(images(root)[3]), "error: 1 files cannot be decoded"),
    "mask_size": (lambda root: resize_image(masks(root)[3], (3, 4)), "error: 1 masks have another size than their"),
    "box_empty": (lambda root: first_box(root, "1 4.0 5.0 0.0 10.0"), "error: 1 boxes are empty"),
    "leak": (repeat, "error: 1 images are in the training split and in another one"),
    "box_outside": (lambda root: first_box(root, "1 4.0 5.0 400.0 9.0"), "warning: 1 boxes reach more than a pixel be"),
    "mask_empty": (lambda root: fill(masks(root)[3], 0), "warning: 1 masks are empty"),
    "mask_full": (lambda root: fill(masks(root)[3], 255), "warning: 1 masks cover the whole image"),
    "mask_none": (lambda root: masks(root)[3].unlink(), "note: 1 images have no mask although others have one"),
    "mask_mode": (lambda root: as_rgb(masks(root)[3]), "note: 1 masks are not stored as grey levels"),
    "image_mode": (lambda root: None, "note: 1 images are not stored as RGB"),  # the fixture has a grey one
    "image_format": (lambda root: as_png(images(root)[3]), "note: 1 files have another format than their name says"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_finding_says_what_and_where(kind: str, root: Path, maskexp: Command) -> None:
    damage, sentence = DAMAGES[kind]
    damage(root)
    places = ["data", "check", "WaterBirds", root, f"--cub_root={root.parent / 'CUB_200_2011'}", "--decode"]

    outcome = maskexp(*places)

    assert outcome.code == (1 if sentence.startswith("error") else 0)
    assert sentence in outcome.out
    following = outcome.out.partition(sentence)[2].splitlines()[1]
    assert following.startswith("    ")
    assert "Traceback" not in outcome.err
    report = json.loads(maskexp(*places, "--json").out)
    assert report["ok"] is (outcome.code == 0)
    (finding,) = [found for found in report["findings"] if found["kind"] == kind]
    assert finding["items"] == [following.strip()]


def test_images_that_changed_after_the_manifest_was_written(root: Path, tmp_path: Path, maskexp: Command) -> None:
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    WaterBirds(str(root), image_size=24).table.write(root)
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(images(root)[3])

    outcome = maskexp("data", "check", "Manifest", root)

    assert outcome.code == 1
    assert "error: 1 images have another size than the manifest says\n" in outcome.out
    assert ": 9x7, manifest " in outcome.out


def test_all_missing_files_of_a_csv_are_found_at_once(tmp_path: Path, maskexp: Command) -> None:
    path = write_csv(tmp_path / "own")
    gone = sorted((tmp_path / "own/images").iterdir())[:2]
    for image in gone:
        image.unlink()

    outcome = maskexp("data", "check", "Manifest", "--csv", path)

    assert outcome.code == 1
    assert "error: 2 files are missing\n" in outcome.out
    for image in gone:
        assert f"    {image}\n" in outcome.out


def test_every_finding_has_a_test() -> None:
    of_a_users_own_data = {"two_labels", "shared", "no_attribute"}  # tests/data/datasets/test_custom_traps.py
    of_single_files = {"box_tiny", "box_full", "orientation", "exif"}  # tests/data/manifest/test_check.py
    assert set(DAMAGES) | {"image_size"} | of_a_users_own_data | of_single_files == set(KINDS)
