from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskexp.data import DataError, DatasetNotFoundError, ImageNet9
from maskexp.data.datasets import imagenet9 as builder
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_boxes, write_imagenet, write_imagenet9, write_imagenet9_training

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


def test_backgrounds_of_mixed_images(root: Path) -> None:
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
    assert "18 of 72 images of the training archive are test images and were left out" in data.notes
    assert check_data("ImageNet9", root=root, train_root=train_root, decode=True, custom=True).ok
    assert data.fetch("train", [0])["image"].shape == (1, 3, 16, 16)


def test_held_out_of_the_training_images(root: Path, train_root: Path) -> None:
    data = open_it(root, train_root=str(train_root), val_fraction=0.25)

    assert data.table.counts("train") == (3,) * 9
    assert data.table.counts("val") == (1,) * 9
    assert all(row.image.startswith("train/") for row in data.table.split("val"))
    assert "9 of 45 images of the training archive are test images and were left out" in data.notes


def test_label_order_of_comet(root: Path) -> None:
    official, comet = open_it(root).table, open_it(root, label_order="comet").table

    permutation = builder.COMET_TO_OFFICIAL
    assert permutation == (6, 0, 8, 1, 4, 2, 7, 5, 3)
    assert comet.card.classes[0] == "musical instrument"
    assert [permutation[row.label] for row in comet.rows] == [row.label for row in official.rows]
    assert any("COMET" in note for note in comet.card.notes)


@pytest.mark.parametrize(("count", "variant"), [(18, "official"), (17, "custom")])
def test_official_counts(count: int, variant: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "KNOWN_COUNTS", {"official": dict.fromkeys(VARIANTS, (count,))})

    assert open_it(root).spec.variant == variant


# --- a training set drawn from ImageNet ------------------------------------------------------------------------------

MADE_OF = {name: (f"n0000000{k}", f"n0000001{k}") for k, name in enumerate(builder.CLASSES)}
"""Two classes of ImageNet for each of the nine."""


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ImageNet with boxes in ``boxes`` beside it: the first image has two, the last of each class none."""
    monkeypatch.setattr(builder, "WNIDS", MADE_OF)
    wnids = sorted(wnid for wnids in MADE_OF.values() for wnid in wnids)
    root = write_imagenet(tmp_path / "imagenet", [*wnids, "n99999999"], train=3, val=1)
    images = [path for wnid in wnids for path in sorted((root / "train" / wnid).glob("*.JPEG"))[:-1]]
    write_boxes(tmp_path / "boxes", images)
    return root


def draw(root: Path, imagenet: Path, **arguments: object) -> ImageNet9:
    return open_it(root, imagenet_root=str(imagenet), boxes=str(imagenet.parent / "boxes"), **arguments)


def test_the_nine_classes_are_made_of_370() -> None:
    counts = [len(builder.WNIDS[name]) for name in builder.CLASSES]
    listed = [wnid for wnids in builder.WNIDS.values() for wnid in wnids]

    assert counts == [116, 52, 42, 36, 35, 27, 26, 20, 16]
    assert len(set(listed)) == 370
    assert all(list(wnids) == sorted(wnids) for wnids in builder.WNIDS.values())


@pytest.mark.parametrize(("train_set", "per_class"), [("boxed", 3), ("l", 6)])
def test_drawn_and_balanced(train_set: str, per_class: int, root: Path, imagenet: Path) -> None:
    data = draw(root, imagenet, train_set=train_set, val_fraction=1 / 3)
    rows = [*data.table.split("train"), *data.table.split("val")]

    assert data.table.counts("train") == (per_class - per_class // 3,) * 9
    assert data.table.counts("val") == (per_class // 3,) * 9
    assert all(row.image.split("/")[1] in MADE_OF[builder.CLASSES[row.label]] for row in rows)
    assert data.fetch("train", [0])["image"].shape == (1, 3, 16, 16)
    assert any(f"training set {train_set} drawn anew from ImageNet, {per_class} images per" in n for n in data.notes)
    assert {len(row.image.split("/")) for row in rows} == {3}


def test_boxed_takes_images_with_exactly_one_box(root: Path, imagenet: Path) -> None:
    data = draw(root, imagenet, val_fraction=1 / 3)
    taken = {row.id for split in ("train", "val") for row in data.table.split(split)}

    assert min((imagenet / "train/n00000000").glob("*.JPEG")).stem not in taken  # two boxes
    assert taken.isdisjoint(max((imagenet / "train" / w).glob("*.JPEG")).stem for ws in MADE_OF.values() for w in ws)


def test_draw_depends_on_its_seed_and_the_published_size_is_the_most(
    root: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "PER_CLASS", 2)
    one = draw(root, imagenet, val_fraction=0.5)

    assert one.table.counts("train") == (1,) * 9
    assert draw(root, imagenet, val_fraction=0.5, seed=7).digest == one.digest
    assert draw(root, imagenet, val_fraction=0.5, train_seed=7).digest != one.digest
    assert builder.HELD_OUT == 0.1


def test_draws_that_cannot_be(root: Path, imagenet: Path, train_root: Path) -> None:
    with pytest.raises(DataError, match="both train_root and imagenet_root are given"):
        draw(root, imagenet, train_root=str(train_root)).prepare_data()
    with pytest.raises(DataError, match="train_set is 'xl'; it must be 'boxed' or 'l'"):
        draw(root, imagenet, train_set="xl").prepare_data()
    with pytest.raises(DataError, match=r"exactly one box: say where .* --data\.boxes, or .* --data\.train_set l"):
        open_it(root, imagenet_root=str(imagenet)).prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"ImageNet not found(.|\n)*nowhere/train(.|\n)*imagenet_root"):
        open_it(root, imagenet_root=str(root / "nowhere"), train_set="l").prepare_data()
    for path in (imagenet / "train/n00000004").glob("*.JPEG"):
        path.unlink()
    with pytest.raises(DataError, match=r"train/n00000004 has no images; .* 370 classes .* belongs to carnivore"):
        draw(root, imagenet).prepare_data()


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"ImageNet-9 not found(.|\n)*nowhere(.|\n)*backgrounds_challenge_da"
    ):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DatasetNotFoundError, match=r"training images not found(.|\n)*--data\.train_root"):
        open_it(root, train_root=str(tmp_path / "nowhere")).prepare_data()
    with pytest.raises(DataError, match="imagenet9 has no split 'train'; it has mixed_next"):
        open_it(root).setup("fit")


def test_nothing_to_validate_on(root: Path, train_root: Path) -> None:
    with pytest.raises(DataError, match="val_fraction is 0; ImageNet-9 must be validated on training images"):
        open_it(root, train_root=str(train_root), val_fraction=0).prepare_data()
    (train_root / "val").rename(train_root / "elsewhere")
    with pytest.raises(DataError, match=r"has no val folder; hold images out with --data\.val_fraction"):
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
