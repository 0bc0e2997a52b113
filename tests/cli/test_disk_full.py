"""A full disk is one sentence with the path, and leaves no half-written file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with an image."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("photo.png")
    return tmp_path


def full(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def sentence_of(outcome: Any, name: str) -> str:
    assert outcome.code == 1
    assert f"{name} cannot be written: its disk is full (" in outcome.complaint
    assert "left); make room or choose another folder" in outcome.complaint
    assert "[Errno" not in outcome.err
    return str(outcome.complaint)


def test_explain(trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "save", full)
    sentence_of(maskexp("explain", trained.checkpoints / "best.ckpt", "photo.png", "--out=out"), ".png")
    assert not list(Path("out").iterdir())


def test_predict(trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    flags = ["--run_dir=out", "--save_attributions=true"]
    outcome = maskexp("predict", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, *flags)
    sentence_of(outcome, ".npy")
    assert not list(Path("out").rglob("*.np*"))
    assert not list(Path("out").rglob(".*part*"))


def test_a_download(maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskexp.data.downloads.fetch._receive", full)
    monkeypatch.setenv("MASKEXP_OFFLINE", "0")
    sentence_of(maskexp("data", "prepare", "CUB", "root"), "root/_raw/CUB_200_2011.tgz")
    assert not [path for path in Path("root").rglob("*") if path.is_file()]


def test_a_log(trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.fabric.loggers.csv_logs._ExperimentWriter.save", full)
    sentence_of(maskexp("test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--run_dir=out"), "out")


def test_a_program_for_torch(trained: RunDirectory, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    sentence_of(maskexp("export", trained.checkpoints / "best.ckpt", "model.pt2"), "model.pt2")
    assert not list(Path().glob("*model*"))
