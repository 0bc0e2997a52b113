from __future__ import annotations

from pathlib import Path

import pytest

from maskexp.data import DataError, WaterBirds
from tests.fixtures import COUNTS, write_waterbirds


def open_all(root: Path, **arguments: object) -> WaterBirds:
    return WaterBirds(root, cache_dir=root.parent / "cache", image_size=24, num_workers=0, **arguments)  # type: ignore[arg-type]


def test_paths_become_text_in_checkpoints(tmp_path: Path) -> None:
    data = open_all(write_waterbirds(tmp_path / "w"))

    assert data.hparams["root"] == str(tmp_path / "w")
    assert data.hparams["cache_dir"] == str(tmp_path / "cache")
    assert not any(isinstance(value, Path) for value in data.hparams.values())


def test_another_split_can_take_the_part_of_test(tmp_path: Path) -> None:
    data = open_all(write_waterbirds(tmp_path / "w"), test_split="val")
    data.setup("test")

    assert data.dataset("test") is data.dataset("val")
    assert len(data.test_dataloader().dataset) == sum(COUNTS["val"])  # type: ignore[arg-type]
    assert len(data.predict_dataloader().dataset) == sum(COUNTS["val"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no split 'black'; it has test, train, val"):
        open_all(tmp_path / "w", test_split="black").setup("test")
