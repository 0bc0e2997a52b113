from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskexp.data import DataError, DatasetNotFoundError, ImageNet9
from maskexp.data.builders import imagenet9 as builder
from maskexp.data.check import check_data
from tests.fixtures import write_imagenet9, write_imagenet9_training

VARIANTS = ["mixed_next", "mixed_rand", "mixed_same", "no_fg", "only_bg_b", "only_bg_t", "only_fg", "original"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_imagenet9(tmp_path / "bg_challenge")


@pytest.fixture
def train_root(tmp_path: Path) -> Path:
    return write_imagenet9_training(tmp_path / "original")


def open_it(root: Path, **arguments: object) -> ImageNet9:
    return ImageNet9(str(root), cache_dir=str(root.parent / "cache"), image_size=16, num_workers=0, **arguments)


def test_variants_and_masks_without_anything_to_train_on(root: Path) -> None:
    data = open_it(root)

    assert list(data.table.splits) == VARIANTS
    assert data.spec.class_names[2] == "wheeled vehicle"
    assert data.spec.foreground == "segmentation"
    for variant in VARIANTS:
        dataset = data.dataset(variant)
        assert data.table.counts(variant) == (2,) * 9
        assert dataset.has_foreground.all() == (not variant.startswith("only_bg"))
        assert dataset.has_foreground.any() == dataset.has_foreground.all()


def test_masks_belong_to_the_foreground(root: Path) -> None:
    data = open_it(root)
    row = data.table.split("mixed_next")[0]
    shown = data.dataset("mixed_next")[0]["foreground"][0].numpy()

    assert row.id == "fg_n10000000_00000_bg_n10000001_00000"
    assert (shown == (np.load(root / "fg_mask/val/00_dog/n10000000_00000.npy") > 0)).all()


def test_backgrounds_of_mixed_pictures(root: Path) -> None:
    data = open_it(root)
    classes = data.spec.class_names

    assert [row.env for row in data.table.split("mixed_next")] == [
        classes[(row.label + 1) % 9] for row in data.table.split("mixed_next")
    ]
    assert all(row.env == classes[row.label] for row in data.table.split("mixed_same"))
    assert {row.env for row in data.table.split("original")} == {""}


@pytest.mark.parametrize("variant", ["original", "mixed_rand"])
def test_a_variant_takes_the_part_of_test(variant: str, root: Path) -> None:
    data = open_it(root, test_split=variant)
    data.setup("test")

    assert data.dataset("test").split == variant
    assert open_it(root).dataset("test").split == "original"


def test_training_archive_without_the_leak(root: Path, train_root: Path) -> None:
    data = open_it(root, train_root=str(train_root))
    tested = {row.pair_id for variant in VARIANTS for row in data.table.split(variant)}

    assert data.table.counts("train") == (4,) * 9
    assert data.table.counts("val") == (2,) * 9
    assert tested.isdisjoint({*data.dataset("train").ids, *data.dataset("val").ids})
    assert "18 of 72 pictures of the training archive are test pictures and were left out" in data.notes
    assert check_data("ImageNet9", root=root, train_root=train_root, decode=True).ok
    assert data.fetch("train", [0])["image"].shape == (1, 3, 16, 16)


def test_held_out_of_the_training_pictures(root: Path, train_root: Path) -> None:
    data = open_it(root, train_root=str(train_root), val_fraction=0.25)

    assert data.table.counts("train") == (3,) * 9
    assert data.table.counts("val") == (1,) * 9
    assert all(row.image.startswith("train/") for row in data.table.split("val"))
    assert "9 of 45 pictures of the training archive are test pictures and were left out" in data.notes


def test_label_order_of_comet(root: Path) -> None:
    official, comet = open_it(root).table, open_it(root, label_order="comet").table

    assert builder.COMET_TO_OFFICIAL == (6, 0, 8, 1, 4, 2, 7, 5, 3)
    assert comet.card.classes[0] == "musical instrument"
    assert [builder.COMET_TO_OFFICIAL[row.label] for row in comet.rows] == [row.label for row in official.rows]
    assert any("COMET" in note for note in comet.card.notes)


@pytest.mark.parametrize(("count", "variant"), [(18, "official"), (17, "custom")])
def test_official_counts(count: int, variant: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "KNOWN_COUNTS", {"official": dict.fromkeys(VARIANTS, (count,))})

    assert open_it(root).spec.variant == variant


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"ImageNet-9 not found(.|\n)*nowhere(.|\n)*backgrounds_challenge_da"
    ):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"training pictures not found(.|\n)*--data\.train_root"):
        open_it(root, train_root=str(tmp_path / "nowhere")).prepare_data()
    with pytest.raises(DataError, match="imagenet9 has no split 'train'; it has mixed_next"):
        open_it(root).setup("fit")


def test_nothing_to_validate_on(root: Path, train_root: Path) -> None:
    with pytest.raises(DataError, match="val_fraction is 0; ImageNet-9 must be validated on training pictures"):
        open_it(root, train_root=str(train_root), val_fraction=0).prepare_data()
    (train_root / "val").rename(train_root / "elsewhere")
    with pytest.raises(DataError, match=r"has no val folder; hold pictures out with --data\.val_fraction"):
        open_it(root, train_root=str(train_root)).prepare_data()


def test_unknown_class_and_order(root: Path) -> None:
    with pytest.raises(DataError, match="label_order is 'alphabetical'; it must be 'official' or 'comet'"):
        open_it(root, label_order="alphabetical").prepare_data()
    (root / "no_fg/val/08_fish").rename(root / "no_fg/val/08_fishes")
    with pytest.raises(DataError, match=r"08_fishes is none of ImageNet-9's classes"):
        open_it(root).prepare_data()


def test_mask_of_another_size(root: Path) -> None:
    np.save(root / "fg_mask/val/00_dog/n10000000_00000.npy", np.ones((9, 8)))

    with pytest.raises(DataError, match=r"n10000000_00000\.npy has 8x9 pixels but its image"):
        open_it(root).prepare_data()
