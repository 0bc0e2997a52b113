from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskexp.data.registry import COLUMNS, DATASETS
from tests.cli.conftest import Command
from tests.fixtures import write_csv, write_cub_tree, write_spawrious


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
    for entry in DATASETS.values():
        block = text.partition(f"{entry.name}: ")[2].partition("\n  get ")[0]
        assert all(str(getattr(entry, column)) in block for column in COLUMNS)
        assert entry.get in text


def test_check_counts(folder: Path, maskexp: Command) -> None:
    outcome = maskexp("data", "check", "Manifest", folder, "--decode")
    assert outcome.code == 0
    assert "valid" in outcome.out
    assert "cat 2, dog 2" in outcome.out


def test_check_finds_a_truncated_image(folder: Path, maskexp: Command) -> None:
    victim = folder / "train" / "cat" / "0.png"
    victim.write_bytes(victim.read_bytes()[:-60])
    outcome = maskexp("data", "check", "Manifest", folder, "--decode")
    assert outcome.code == 1
    assert "INVALID" in outcome.out
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
            "Manifest does not take --cub_root, only --csv, --masks, --columns, --classes, --attributes",
        ),
        (["data", "check", "CUB", "x", "--workers=0"], 2, "--workers is 0; it must be at least 1"),
        (["data", "check", "WaterBirds"], 2, "say where the data lies: maskexp data check WaterBirds ROOT"),
    ],
)
def test_mistakes(args: list[str], code: int, sentence: str, maskexp: Command) -> None:
    outcome = maskexp(*args)
    assert (outcome.code, outcome.complaint) == (code, sentence)


def test_check_takes_the_arguments_of_the_datamodule(tmp_path: Path, maskexp: Command) -> None:
    root = write_cub_tree(tmp_path / "CUB_200_2011")

    assert "train has 15 images, but official has 5994" in maskexp("data", "check", "CUB", root).out
    outcome = maskexp("data", "check", "CUB", root, "--custom", "--val_fraction=0.4", "--val_seed=3", "--sha")
    assert outcome.code == 0
    assert "val         6" in outcome.out
    assert "  sha256 " in outcome.out
    pinned = outcome.out.partition("  sha256 ")[2].split()[0]
    assert maskexp("data", "check", "CUB", root, "--custom", "--sha", pinned, "--val_fraction=0.4").code == 1


def test_many_groups_are_summed_up(tmp_path: Path, maskexp: Command) -> None:
    outcome = maskexp("data", "check", "Spawrious", write_spawrious(tmp_path / "spawrious224", 5), "--custom")

    assert "  test       40  24 groups or classes, 0 to 10 each\n" in outcome.out


def test_check_takes_names_of_columns_and_classes(tmp_path: Path, maskexp: Command) -> None:
    path = write_csv(tmp_path)
    path.write_text(path.read_text().replace("label", "species", 1))

    outcome = maskexp(
        "data", "check", "Manifest", f"--csv={path}", "--columns=label=species", "--classes=wren,heron,owl"
    )
    assert outcome.code == 0
    assert "wren/land" in outcome.out
    assert "owl/water" in outcome.out


def test_check_takes_what_its_own_complaint_and_fit_say(tmp_path: Path, maskexp: Command) -> None:
    path = write_csv(tmp_path)
    path.write_text(path.read_text().replace("image", "file", 1).replace("label", "species", 1))

    outcome = maskexp("data", "check", "Manifest", "--data.csv", path)
    assert "Say which one is the image with --data.columns.image" in outcome.out
    names = ["--data.columns.image", "file", "--data.columns.label=species"]
    assert maskexp("data", "check", "Manifest", "--data.csv", path, *names).code == 0
    assert maskexp("data", "check", "Manifest", f"--csv={path}", "--columns=image=file", *names[2:]).code == 0


@pytest.mark.parametrize(
    ("arg", "sentence"),
    [
        ("--columns=species", "'species' is not role=column,role=column"),
        ("--val_fraction=much", "invalid float value: 'much'"),
    ],
)
def test_check_refuses_values_of_another_type(arg: str, sentence: str, maskexp: Command) -> None:
    outcome = maskexp("data", "check", "Manifest", "x", arg)
    assert outcome.code == 2
    assert sentence in outcome.err


def test_a_missing_root_is_a_finding(maskexp: Command) -> None:
    outcome = maskexp("data", "check", "WaterBirds", "nowhere")
    assert outcome.code == 1
    assert "looked for  nowhere" in outcome.out
