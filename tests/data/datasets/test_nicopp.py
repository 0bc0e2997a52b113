from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, NICOPlusPlus
from maskexp.data.datasets import nicopp as builder
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_nicopp
from tests.fixtures.nicopp import CLASSES

GROUPS = 17  # three classes in six contexts, less one


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nicopp(tmp_path / "NICO++")


def open_it(root: Path, **arguments: object) -> NICOPlusPlus:
    return NICOPlusPlus(str(root), cache_dir=str(root.parent / "cache"), image_size=8, num_workers=0, **arguments)


def test_labels_follow_the_mapping(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "EVALUATED", 4)
    data = open_it(root)

    assert data.spec.class_names == CLASSES
    for row in data.table.rows:
        context, name, _ = row.id.split("/")
        assert (CLASSES[row.label], builder.CONTEXTS[row.attribute], row.env) == (name, context, context)
    assert data.fetch("test", range(GROUPS))["image"].shape == (GROUPS, 3, 8, 8)
    assert check_data("NICOPlusPlus", root=root.parent, decode=True, custom=True).ok


@pytest.mark.parametrize(("evaluated", "val", "test", "train"), [(4, 1, 3, 1), (75, 1, 4, 0)])
def test_subpop_rule(
    evaluated: int, val: int, test: int, train: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "EVALUATED", evaluated)

    sizes = Counter(row.split for row in open_it(root).table.rows)

    assert (sizes["val"], sizes["test"], sizes["train"]) == (val * GROUPS, test * GROUPS, train * GROUPS)


def test_comet_like_sizes_and_balance(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "COMET_TRAINING", 37)
    monkeypatch.setattr(builder, "COMET_EVALUATED", 6)
    data = open_it(root, protocol="comet_like")

    per_class = {split: Counter(row.label for row in data.table.split(split)) for split in data.table.splits}
    assert per_class == {"test": {0: 6, 1: 6, 2: 6}, "val": {0: 6, 1: 6, 2: 6}, "train": {0: 13, 1: 12, 2: 12}}
    for split in ("test", "val"):
        balance = Counter(row.env for row in data.table.split(split) if row.label < 2)
        assert set(balance.values()) == {2}
    assert any("COMET's own draw was never published" in note for note in data.notes)


def test_official_pairs_of_contexts(root: Path) -> None:
    data = open_it(root, protocol="dim_grass", val_fraction=0.2)

    assert {row.env for row in data.table.split("test")} == {"dim", "grass"}
    assert {row.env for row in data.table.split("train")} == {"autumn", "outdoor", "rock", "water"}
    assert len(data.dataset("val")) == 11  # round(0.2 * 5) of each group
    assert (data.spec.variant, data.notes) == ("dim_grass", [])


def test_draw_depends_on_its_seed_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "EVALUATED", 4)
    drawn = open_it(root).dataset("val").ids.tolist()

    assert open_it(root, seed=3).dataset("val").ids.tolist() == drawn
    assert open_it(root, split_seed=3).dataset("val").ids.tolist() != drawn
    assert builder.KNOWN_COUNTS["comet_like"]["test"] == (60 * 74,)


def test_bad_input(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"NICO\+\+ not found(.|\n)*nowhere(.|\n)*track_1\.zip"):
        open_it(tmp_path / "nowhere").prepare_data()
    with pytest.raises(DataError, match="protocol is 'official'; it must be one of subpop, comet_like"):
        open_it(root, protocol="official").prepare_data()
    for context in builder.CONTEXTS:
        shutil.rmtree(root / "public_dg_0416/train" / context / "wolf")
    with pytest.raises(DataError, match="has no images of 'wolf' in any context"):
        open_it(root).prepare_data()


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ('{"car": 1}', "does not number its classes"), ("", "missing")]
)
def test_damaged_mapping(text: str, message: str, root: Path) -> None:
    path = root / "dg_label_id_mapping.json"
    path.write_text(text) if text else path.unlink()

    with pytest.raises(DataError, match=rf"mapping\.json .*{message}"):
        open_it(root).prepare_data()
