from __future__ import annotations

import csv
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.callbacks import PredictionWriter
from maskexp.callbacks.predictions import file_names


class FakeTrainer:
    world_size, is_global_zero = 1, True
    ids = ("a/x", "b", "c")

    class datamodule:  # noqa: N801
        predict_split = "test"

        @staticmethod
        def dataset(split: str) -> Any:
            assert split == "test"
            return type("Split", (), {"ids": np.array(FakeTrainer.ids)})


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


@pytest.mark.parametrize(
    "ids",
    [
        ("a/b", "a__b", "A__B"),
        ("..", ".", ""),
        ("x" * 300, "x" * 300 + "y", "ü" * 150),
        ("a\0b", "a:b", "caf\udce9"),
        ("a/../../b", "/etc/x", "a\nb"),
        ("b_1", "b/1", "b__1"),
    ],
)
def test_awkward_ids_have_files_of_their_own_and_a_table(
    tmp_path: Path, ids: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeTrainer, "ids", ids)
    write(PredictionWriter(str(tmp_path / "run"), save_attributions=True), outputs(2, 0), outputs(1))
    folder = tmp_path / "run" / "attributions"
    with (folder / "files.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "file"]
    # a NUL ends a string in numpy
    assert [row[0] for row in rows] == [str(identity) for identity in np.array(ids)]
    assert [float(np.load(folder / name)[0, 0]) for _, name in rows] == [0.0, 0.5, 1.0]
    assert {path.name for path in folder.iterdir()} == {"files.csv"} | {
        Path(name).stem + suffix if name.count(".") == 1 else name[: -len(".npy")] + suffix
        for _, name in rows
        for suffix in (".npy", ".png")
    }
    with (tmp_path / "run" / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert len(list(csv.reader(file))) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_file_names_do_not_depend_on_the_case_of_letters() -> None:
    names = file_names(["Bird", "bird", "BIRD"])
    assert len({name.casefold() for name in names}) == 3


def test_a_full_disk_is_a_sentence_and_leaves_no_empty_file(tmp_path: Path) -> None:
    batch = outputs(0)
    batch["attribution"] = torch.zeros(1, 1, 400, 400)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a__x\.npy cannot be written: its disk is full"):
            write(PredictionWriter(str(tmp_path), save_attributions=True), batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "attributions").iterdir()) == []
