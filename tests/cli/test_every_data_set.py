"""fit, then test, through the real command, on the drawn layout of every data set, with and without a mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from maskexp.data.datasets.imagenette import ImagenetteLayout, ImageWoofLayout
from maskexp.data.registry import DATASETS
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command
from tests.fixtures import (
    write_an8flower,
    write_bam,
    write_celeba,
    write_csv,
    write_cub_tree,
    write_hardimagenet,
    write_imagenet,
    write_imagenet9,
    write_imagenet9_training,
    write_metashift,
    write_nicopp,
    write_scene_graphs,
    write_spawrious,
    write_travelingbirds,
    write_waterbirds,
)
from tests.fixtures.scenes import write_scenes

pytestmark = pytest.mark.slow

QUICK = [
    *CPU,
    "--model.backbone=test_resnet",
    "--model.weights=null",
    "--data.image_size=32",
    "--data.num_workers=0",
    "--data.batch_size=4",
    "--data.eval_batch_size=32",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_model_summary=false",
]


def imagenet100(folder: Path) -> dict[str, object]:
    wnids = ("n02869837", "n01749939", "n02488291")
    (folder / "mine.txt").write_text("\n".join(wnids))
    root = write_imagenet(folder / "imagenet", wnids)
    return {"root": root, "class_list": folder / "mine.txt", "val_fraction": 0.25}


def travelingbirds(folder: Path) -> dict[str, object]:
    cub = write_cub_tree(folder / "CUB_200_2011")
    return {"root": write_travelingbirds(folder / "TravelingBirds", cub), "cub_root": cub, "foreground": "box"}


def metashift(folder: Path) -> dict[str, object]:
    root = write_metashift(folder / "metashift")
    return {"root": root, "scene_graphs": write_scene_graphs(folder / "graphs", root)}


ARGUMENTS: dict[str, Callable[[Path], dict[str, object]]] = {
    "SyntheticBirds": lambda _: {"train_size": 8, "val_size": 8, "test_size": 8},
    "WaterBirds": lambda folder: {"root": write_waterbirds(folder / "waterbirds")},
    "CUB": lambda folder: {"root": write_cub_tree(folder / "CUB_200_2011")},
    "TravelingBirds": travelingbirds,
    "ImageNet9": lambda folder: {
        "root": write_imagenet9(folder / "bg_challenge"),
        "train_root": write_imagenet9_training(folder / "original"),
        "test_split": "mixed_next",
    },
    "HardImageNet": lambda folder: {
        "root": write_hardimagenet(folder / "hardImageNet", folder / "imagenet"),
        "imagenet_root": folder / "imagenet",
        "val_fraction": 0.34,
    },
    "Imagenette": lambda folder: {
        "root": write_imagenet(folder / "imagenette2", tuple(ImagenetteLayout.wnids)),
        "val_fraction": 0.25,
    },
    "ImageWoof": lambda folder: {
        "root": write_imagenet(folder / "imagewoof2", tuple(ImageWoofLayout.wnids)),
        "val_fraction": 0.25,
    },
    "ImageNet100": imagenet100,
    "An8Flower": lambda folder: {"root": write_an8flower(folder / "flowers"), "val_fraction": 0.25},
    "BAM": lambda folder: {
        "root": write_bam(folder / "data", train=(0, 1), val=(900,)),
        "val_fraction": 0.5,
        "drop": "[stop_sign, track]",
    },
    "Spawrious": lambda folder: {"root": write_spawrious(folder / "spawrious224", 5), "val_fraction": 0.2},
    "CelebA": lambda folder: {"root": write_celeba(folder / "celeba")},
    "MetaShift": metashift,
    "NICOPlusPlus": lambda folder: {
        "root": write_nicopp(folder / "NICO++"),
        "protocol": "dim_grass",
        "val_fraction": 0.2,
    },
    "Manifest": lambda folder: {"csv": write_csv(folder / "own")},
}
"""Draws each data set and says what the command has to know of it."""
SEGMENTED = {"SyntheticBirds", "WaterBirds", "CUB", "ImageNet9", "HardImageNet", "An8Flower", "BAM", "Manifest"}
BOXED = {"TravelingBirds", "MetaShift"}


def test_no_data_set_is_left_out() -> None:
    assert set(ARGUMENTS) == set(DATASETS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_fit_and_test(name: str, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    data = [f"--data.{key}={value}" for key, value in ARGUMENTS[name](tmp_path).items()]
    for model in ("ERM", "AIM"):
        run = RunDirectory(tmp_path / model)
        outcome = maskexp(
            "fit", f"--model={model}", f"--data={name}", *data, *QUICK, f"--run_dir={run}", "--test_after_fit=false"
        )
        assert outcome.code == 0, outcome.err
        assert not any(key.startswith("test/") for key in run.read_metrics())

        outcome = maskexp("test", f"--ckpt_path={run.checkpoints / 'best.ckpt'}", *CPU, f"--run_dir={run}")
        assert outcome.code == 0, outcome.err
        metrics = run.read_metrics()
        assert 0 <= metrics["test/acc"] <= 1
        found = {key for key in ("test/epg", "test/epg_grad_cam", "test/pxap") if key in metrics}
        assert bool(found) == (name in SEGMENTED | BOXED)
        assert all(math.isfinite(metrics[key]) for key in found)
        assert ("test/mask_area" in metrics) == (model == "AIM")


def test_birds_alone_and_scenes_alone(tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path / "scenes", 14)
    birds = write_cub_tree(tmp_path / "CUB_200_2011")
    scenes = [f"--{kind}={tmp_path / 'scenes' / kind}" for kind in ("land", "water")]
    parts = ["--test_fg", "--test_bg"]
    assert maskexp("data", "make", "waterbirds", "made", "--cub_root", birds, *scenes, *parts).code == 0
    assert maskexp("data", "check", "WaterBirds", "made", "--decode").code == 0
    data = ["--data=WaterBirds", "--data.root=made"]
    assert maskexp("fit", "--model=ERM", *data, *QUICK, "--run_dir=r", "--test_after_fit=false").code == 0

    found = {}
    for part in ("test", "test_fg", "test_bg"):
        chosen = ["--ckpt_path=r/checkpoints/best.ckpt", f"--data.test_split={part}", f"--run_dir={part}"]
        outcome = maskexp("test", *chosen, *CPU)
        assert outcome.code == 0, outcome.err
        found[part] = RunDirectory(tmp_path / part).read_metrics()
    assert {part for part, metrics in found.items() if metrics.get("test/epg") is not None} == {"test", "test_fg"}
    assert all(0 <= metrics["test/acc"] <= 1 for metrics in found.values())
