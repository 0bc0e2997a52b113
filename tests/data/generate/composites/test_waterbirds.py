from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskexp.data import DataError, DatasetNotFoundError, Manifest, WaterBirds
from maskexp.data.generate.composites import output, waterbirds
from maskexp.data.generate.composites.scenes import named_scenes
from maskexp.data.generate.composites.waterbirds import WaterBirdsRecipe, is_water_bird, make_waterbirds
from maskexp.data.manifest.check import check_data
from maskexp.data.manifest.table import ManifestTable
from tests.fixtures import write_cub_tree
from tests.fixtures.scenes import write_scenes


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    write_cub_tree(root / "CUB_200_2011", train=10, test=4, beside=True)
    write_scenes(root / "scenes", 40)
    return root


def make(sources: Path, folder: Path, recipe: WaterBirdsRecipe | None = None, **arguments: object) -> ManifestTable:
    scenes = named_scenes({kind: [sources / "scenes" / kind] for kind in ("land", "water")})
    return make_waterbirds(folder, sources, scenes, recipe or WaterBirdsRecipe(), **arguments)


def digest(folder: Path) -> dict[str, str]:
    """Return the hash of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("correlation", [0.5, 0.7, 0.95, 1.0])
def test_places_follow_the_rounding_rule(correlation: float, sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out", WaterBirdsRecipe(correlation))

    for split, rho in (("train", correlation), ("val", 0.5), ("test", 0.5)):
        counts = table.counts(split)
        land, water = sum(counts[:2]), sum(counts[2:])
        on_water = round((1 - rho) * land), round(rho * water)
        assert counts == (land - on_water[0], on_water[0], water - on_water[1], on_water[1])
    assert len(table.split("val")) == round(0.2 * 30)


def test_the_official_layout_with_masks(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path / "out")
    data = WaterBirds(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"), image_size=24, num_workers=0)

    assert data.spec.foreground == "segmentation"
    assert check_data("WaterBirds", root=tmp_path / "out", decode=True).ok
    lines = list(csv.DictReader((tmp_path / "out/metadata.csv").open()))
    assert [line["img_id"] for line in lines] == [str(k) for k in range(1, 43)]
    official = dict(
        line.split() for line in (sources / "CUB_200_2011/train_test_split.txt").read_text().split("\n")[:-1]
    )
    assert all((line["split"] == "2") == (official[line["img_id"]] == "0") for line in lines)
    assert {row.id: row.source for row in data.table.rows} == {line["img_id"]: line["place_filename"] for line in lines}
    assert all(line["place_filename"].startswith("/water/" if line["place"] == "1" else "/land/") for line in lines)


def test_pixels_are_the_bird_inside_and_the_scene_outside(sources: Path, tmp_path: Path) -> None:
    table = make(sources, tmp_path / "out", WaterBirdsRecipe(test_fg=True, test_bg=True), quality=100)
    row = table.split("test")[0]
    read = lambda path: np.asarray(Image.open(path).convert("RGB"), np.int64)  # noqa: E731
    composite, fg, bg = (read(tmp_path / "out" / folder / row.image) for folder in (".", "test_fg", "test_bg"))
    alpha = np.asarray(Image.open(tmp_path / "out" / row.mask), np.float64)[..., None] / 255
    bird = read(sources / "CUB_200_2011/images" / row.image)

    assert set(np.unique(alpha * 255)) == {0, 200}, "the saved mask is soft"
    assert abs(composite - (alpha * bird + (1 - alpha) * bg)).mean() < 6  # JPEG of noise
    assert abs(fg - (alpha * bird + (1 - alpha) * 150)).mean() < 6
    assert abs(composite - bird).mean() > 20


def test_foreground_and_background_splits(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path / "out", WaterBirdsRecipe(test_fg=True, test_bg=True))
    data = Manifest(str(tmp_path / "out"), image_size=24, num_workers=0)
    test, fg, bg = (data.table.split(split) for split in ("test", "test_fg", "test_bg"))

    assert [row.pair_id for row in test] == [row.pair_id for row in fg] == [row.pair_id for row in bg]
    assert [row.source for row in test] == [row.source for row in bg]
    assert {row.source for row in fg} == {""}
    assert data.dataset("test_fg")[0]["foreground"].any()
    assert not data.dataset("test_bg")[0]["has_foreground"]
    assert check_data("Manifest", root=tmp_path / "out").ok


def test_the_same_seed_gives_identical_files(sources: Path, tmp_path: Path) -> None:
    recipe = WaterBirdsRecipe(test_fg=True, test_bg=True)
    for name, workers in (("a", 1), ("b", 3)):
        make(sources, tmp_path / name, recipe, workers=workers)
    make(sources, tmp_path / "other", WaterBirdsRecipe(seed=1, test_fg=True, test_bg=True))

    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a")["metadata.csv"] != digest(tmp_path / "other")["metadata.csv"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.jpg")}
    make(sources, tmp_path / "a", recipe)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.jpg")}


def test_another_correlation_keeps_the_splits_and_moves_birds_one_way(sources: Path, tmp_path: Path) -> None:
    tables = [make(sources, tmp_path / str(rho), WaterBirdsRecipe(rho)) for rho in (0.5, 0.8, 1.0)]
    splits = [{row.id: row.split for row in table.rows} for table in tables]
    matched = [{row.id for row in table.split("train") if row.attribute == row.label} for table in tables]

    assert splits[0] == splits[1] == splits[2]
    assert matched[0] < matched[1] < matched[2]


def test_a_failed_run_is_resumed(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(sources, tmp_path / "whole")
    written = output.write_composite

    def fail_later(composite: output.Composite, folder: Path, quality: int) -> None:
        if "Tern_0002" in composite.target:
            raise OSError("the disk went away")
        written(composite, folder, quality)

    monkeypatch.setattr(output, "write_composite", fail_later)
    with pytest.raises(OSError, match="the disk went away"):
        make(sources, tmp_path / "out", workers=1)
    assert not (tmp_path / "out/metadata.csv").exists()
    monkeypatch.undo()

    make(sources, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


KILLED = """
import sys
from pathlib import Path
from PIL import Image
from maskexp.data.generate.composites.scenes import named_scenes
from maskexp.data.generate.composites.waterbirds import WaterBirdsRecipe, make_waterbirds
sources, out = Path(sys.argv[1]), Path(sys.argv[2])
scenes = named_scenes({kind: [sources / "scenes" / kind] for kind in ("land", "water")})
save = Image.Image.save
def slow(image, path, *args, **kwargs):
    save(image, path, *args, **kwargs)
    print(path, flush=True)
    import time; time.sleep(0.3)
Image.Image.save = slow
make_waterbirds(out, sources, scenes, WaterBirdsRecipe(), workers=2)
"""


def test_a_killed_run_leaves_no_half_written_image_and_is_resumed(sources: Path, tmp_path: Path) -> None:
    make(sources, tmp_path / "whole")
    expected = digest(tmp_path / "whole")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(sources), str(out)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(6):
        assert process.stdout is not None
        assert process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)

    found = digest(out)
    finished = {name for name in found if not Path(name).name.startswith(".")}
    assert found.keys() - finished, "something was being written"
    assert {"recipe.json"} < finished < expected.keys()
    assert all(found[name] == expected[name] for name in finished)

    make(sources, out)
    assert digest(out) == expected


def test_a_folder_with_something_else_is_refused(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("words")
    (tmp_path / "file").write_text("words")
    for name in ("mine", "file"):
        with pytest.raises(DataError, match=rf"{name} holds something else; choose a new or empty folder"):
            make(sources, tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    make(sources, tmp_path / "out")
    with pytest.raises(DataError, match=r"out was begun with correlation 0\.95 instead of 1\.0"):
        make(sources, tmp_path / "out", WaterBirdsRecipe(correlation=1.0))
    with pytest.raises(DataError, match=r"out was begun with quality 95 instead of 75"):
        make(sources, tmp_path / "out", quality=75)


def test_a_full_disk_is_noticed_before_the_first_image(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"out with 42 more images needs about \S+ MB but the disk of \S+ has 0\.0 MB"):
        make(sources, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recipe.json"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"correlation": 0.4}, r"correlation is 0\.4; it must be in \[0\.5, 1\]"),
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0; it must be in \(0, 1\)"),
    ],
)
def test_recipes_out_of_range(recipe: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        WaterBirdsRecipe(**recipe)


def test_bad_sources(sources: Path, tmp_path: Path) -> None:
    write_cub_tree(tmp_path / "CUB_200_2011", masks=False)
    scenes = named_scenes(write_scenes(tmp_path / "scenes", 3))
    with pytest.raises(DatasetNotFoundError, match=r"CUB's segmentations not found(.|\n)*--segmentations"):
        make_waterbirds(tmp_path / "out", tmp_path, scenes, WaterBirdsRecipe())
    with pytest.raises(DataError, match="leave the split val empty"):
        make(sources, tmp_path / "out", WaterBirdsRecipe(val_fraction=0.01))
    with pytest.raises(DataError, match="quality is 0"):
        make(sources, tmp_path / "out", quality=0)
    assert not (tmp_path / "out").exists()


def test_few_scenes_are_used_again_but_never_in_two_splits(sources: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 5)
    scenes = named_scenes({kind: [tmp_path / "scenes" / kind] for kind in ("land", "water")})
    table = make_waterbirds(tmp_path / "out", sources, scenes, WaterBirdsRecipe())
    used = [{row.source for row in table.split(split)} for split in table.splits]

    assert len(set().union(*used)) == sum(map(len, used)) == 10
    assert any("5 scenes of land for" in note for note in table.card.notes)
    assert json.loads((tmp_path / "out/dataset.json").read_text())["builder"]["seed"] == 0


def test_label_rules_on_all_names_of_cub(shared: Path) -> None:
    species = [line.split()[1] for line in (shared / "data/birds/classes.txt").read_text().splitlines()]

    assert len(species) == 200
    assert sum(is_water_bird(name, "group_dro") for name in species) == 46
    assert sum(is_water_bird(name, "fixed") for name in species) == 43
    assert not is_water_bird("021.Eastern_Towhee", "fixed")
    assert is_water_bird("021.Eastern_Towhee", "group_dro")
    assert waterbirds.VERSION == 1
