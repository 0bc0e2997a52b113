from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.callbacks import PredictionWriter


class FakeTrainer:
    world_size, is_global_zero = 1, True

    class datamodule:  # noqa: N801
        predict_split = "test"

        @staticmethod
        def dataset(split: str) -> Any:
            assert split == "test"
            return type("Split", (), {"ids": np.array(["a/x", "b", "c"])})


def outputs(*index: int) -> dict[str, torch.Tensor]:
    size = len(index)
    return {
        "index": torch.tensor(index),
        "label": torch.tensor(index) % 2,
        "group": torch.full((size,), -1),
        "logits": torch.tensor([[float(i), 1.0] for i in index]),
        "attribution": torch.tensor(index).view(size, 1, 1, 1).expand(size, 1, 2, 2) / 2,
    }


def write(writer: PredictionWriter, *batches: dict[str, torch.Tensor]) -> None:
    trainer: Any = FakeTrainer()
    writer.on_predict_start(trainer, None)  # type: ignore[arg-type]
    for i, batch in enumerate(batches):
        writer.on_predict_batch_end(trainer, None, batch, None, i)  # type: ignore[arg-type]
    writer.on_predict_end(trainer, None)  # type: ignore[arg-type]


def test_rows_are_in_the_order_of_the_data(tmp_path: Path) -> None:
    write(PredictionWriter(str(tmp_path)), outputs(2, 0), outputs(1))
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "label", "group", "predicted", "probability"]
    assert [row[:4] for row in rows[1:]] == [["a/x", "0", "-1", "1"], ["b", "1", "-1", "0"], ["c", "0", "-1", "0"]]
    assert float(rows[3][4]) == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-6)
    assert np.load(tmp_path / "logits.npy").tolist() == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    assert not (tmp_path / "attributions").exists()


def test_attributions_by_id(tmp_path: Path) -> None:
    write(PredictionWriter(str(tmp_path), save_attributions=True), outputs(1, 0))
    values = np.load(tmp_path / "attributions" / "b.npy")
    assert values.dtype == np.float32
    assert values.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert np.asarray(Image.open(tmp_path / "attributions" / "b.png")).tolist() == [[128, 128], [128, 128]]
    assert (tmp_path / "attributions" / "a__x.npy").is_file()


def test_a_sample_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="predicted twice"):
        write(PredictionWriter(str(tmp_path)), outputs(0, 1), outputs(1))
    assert not (tmp_path / "predictions.csv").exists()


def test_nothing_to_save_is_an_error(tmp_path: Path) -> None:
    batch = outputs(0)
    del batch["attribution"]
    with pytest.raises(ValueError, match="has no attribution to save"):
        write(PredictionWriter(str(tmp_path), save_attributions=True), batch)


def test_a_second_prediction_starts_afresh(tmp_path: Path) -> None:
    writer = PredictionWriter(str(tmp_path))
    write(writer, outputs(0, 1, 2))
    write(writer, outputs(0, 1))
    assert np.load(tmp_path / "logits.npy").shape == (2, 2)
