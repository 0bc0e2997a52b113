from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.data.catalog import CATALOG
from tests.cli.conftest import Command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder with two classes."""
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            for i in range(2):
                path = tmp_path / "pets" / split / label / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng([len(split) + ord(split[1]), ord(label[0]), i]).integers(
                    0, 256, (8, 8, 3), np.uint8
                )
                Image.fromarray(noise).save(path)
    return tmp_path / "pets"


def test_list_names_every_data_set_and_how_to_get_it(maskexp: Command) -> None:
    text = maskexp("data", "list").out
    assert all(entry.name in text and entry.get in text and entry.licence in text for entry in CATALOG)


def test_check_counts(folder: Path, maskexp: Command) -> None:
    outcome = maskexp("data", "check", "Manifest", folder, "--decode")
    assert outcome.code == 0
    assert "as it has to be" in outcome.out
    assert "cat 2, dog 2" in outcome.out


def test_check_finds_a_truncated_image(folder: Path, maskexp: Command) -> None:
    victim = folder / "train" / "cat" / "0.png"
    victim.write_bytes(victim.read_bytes()[:-60])
    outcome = maskexp("data", "check", "Manifest", folder, "--decode")
    assert outcome.code == 1
    assert "NOT as it has to be" in outcome.out
    assert str(victim) in outcome.out


def test_check_as_json(folder: Path, maskexp: Command) -> None:
    report = json.loads(maskexp("data", "check", "Manifest", folder, "--json").out)
    assert report["ok"] is True
    assert sum(report["counts"]["train"]) == 4


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["data", "lst"], 2, "maskexp data has no action 'lst'; did you mean 'list'?"),
        (["data", "check", "WaterBird", "x"], 2, "'WaterBird' cannot be checked; did you mean 'WaterBirds'?"),
        (
            ["data", "check", "Manifest", "x", "--cub_root=y"],
            2,
            "Manifest does not take --cub_root, only --csv, --masks",
        ),
        (["data", "check", "WaterBirds"], 2, "say where the data lies: maskexp data check WaterBirds ROOT"),
    ],
)
def test_mistakes(args: list[str], code: int, sentence: str, maskexp: Command) -> None:
    outcome = maskexp(*args)
    assert (outcome.code, outcome.complaint) == (code, sentence)


def test_a_missing_root_is_a_finding(maskexp: Command) -> None:
    outcome = maskexp("data", "check", "WaterBirds", "nowhere")
    assert outcome.code == 1
    assert "looked for  nowhere" in outcome.out
