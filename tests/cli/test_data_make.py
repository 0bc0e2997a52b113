from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.fixtures import write_cub_tree
from tests.fixtures.scenes import write_places_tar, write_scenes


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "scenes", 14)
    return write_cub_tree(tmp_path / "CUB_200_2011", train=5, test=2)


def test_waterbirds_from_folders(birds: Path, tmp_path: Path, maskexp: Command) -> None:
    scenes = [f"--{kind}={tmp_path / 'scenes' / kind}" for kind in ("land", "water")]
    out = tmp_path / "wb"
    args = ("data", "make", "waterbirds", out, "--cub_root", birds, *scenes, "--correlation=1", "--test_fg")
    outcome = maskexp(*args)

    assert outcome.code == 0
    assert "landbird/water 0, waterbird/land 0" in outcome.out
    assert "test_fg" in outcome.out
    assert outcome.out.endswith(f"next: maskexp data check WaterBirds {out}\n")
    assert "21/21" not in outcome.out, "the progress bar is on stderr"
    assert "27/27" in outcome.err
    assert maskexp("data", "check", "WaterBirds", out).code == 0
    assert maskexp(*args).code == 0, "a complete folder is left as it is"
    again = maskexp(*args, "--seed=1")
    assert (again.code, again.complaint.split(";")[1]) == (1, " choose another folder, or delete it")


def test_waterbirds_from_the_archive_of_places(birds: Path, tmp_path: Path, maskexp: Command) -> None:
    archive = write_places_tar(tmp_path / "places.tar")
    args = ("data", "make", "waterbirds", tmp_path / "wb", "--cub_root", birds, "--places", archive, "--compat")
    assert maskexp(*args).code == 0

    assert len(list((tmp_path / "wb-scenes").rglob("*.jpg"))) == 24
    lines = (tmp_path / "wb/metadata.csv").read_text().splitlines()
    assert all(line.split(",")[-1].startswith(("/b/", "/f/", "/o/", "/l/")) for line in lines[1:])


def test_travelingbirds(birds: Path, tmp_path: Path, maskexp: Command) -> None:
    out = tmp_path / "tb"
    outcome = maskexp("data", "make", "travelingbirds", out, "--cub_root", birds, "--places", tmp_path / "scenes")

    assert outcome.code == 0
    assert f"next: maskexp data check TravelingBirds {out} --cub_root {birds}" in outcome.out
    assert maskexp("data", "check", "TravelingBirds", out, f"--cub_root={birds}").code == 0


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["waterbird"], 2, "maskexp data make cannot make 'waterbird'; did you mean 'waterbirds'?"),
        (
            ["waterbirds", "out", "--cub_root=.", "--land", "x"],
            2,
            "say where the scenes are: --places X, or --land DIR... and --water DIR...",
        ),
    ],
)
def test_mistakes(args: list[str], code: int, sentence: str, maskexp: Command) -> None:
    outcome = maskexp("data", "make", *args)
    assert (outcome.code, outcome.complaint) == (code, sentence)


def test_help_names_both(maskexp: Command) -> None:
    outcome = maskexp("data", "make", "--help")
    assert outcome.code == 0
    assert all(
        word in outcome.out for word in ("make waterbirds", "make travelingbirds", "--correlation", "--label_rule")
    )
