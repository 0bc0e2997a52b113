"""Every shipped configuration composes, and says what its name says; the rows run on a tiny WaterBirds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskexp.cli.main import main
from tests.fixtures import write_cub_tree, write_waterbirds

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
LAYERS = ("backbone", "data", "parts", "sweeps", "trainer")
ROWS = sorted(
    path.relative_to(EXPERIMENTS).as_posix()
    for path in EXPERIMENTS.rglob("*.yaml")
    if path.parent.name not in LAYERS and not path.name.endswith(("protocol.yaml", "recipe.yaml", "_study.yaml"))
)
TINY = [
    "--model.backbone=test_resnet",
    "--model.weights=null",
    "--data.image_size=32",
    "--data.batch_size=8",
    "--data.num_workers=0",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.precision=32",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def composed(row: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the complete configuration that a row stands for."""
    assert main(["fit", "--config", str(EXPERIMENTS / row), "--print_config"]) == 0
    configuration: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return configuration


@pytest.mark.parametrize("row", ROWS)
def test_row_composes_to_what_its_name_says(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = composed(row, capsys)
    model, data = configuration["model"], configuration["data"]
    if found := re.search(r"(convnext_tiny|resnet50|tf_efficientnet_lite0)", row):
        assert model["init_args"]["backbone"].startswith(found[0])
    if found := re.search(r"_aim_(\d\d)", row):
        assert model["class_path"].endswith("AIM")
        assert (model["init_args"]["stages"], model["init_args"]["tau"]) == (2, int(found[1]) / 100)
    if found := re.search(r"(bottom_up|aim)_(\d)_(\d\d)\.", row):
        assert model["class_path"].endswith({"bottom_up": "BottomUp", "aim": "AIM"}[found[1]])
        assert (model["init_args"]["stages"], model["init_args"]["tau"]) == (int(found[2]), int(found[3]) / 100)
        assert data["class_path"].endswith("CUB")
    if found := re.search(r"dynconv/.*_(resnet\d+)_(\d\d)\.", row):
        assert model["class_path"].endswith("DynConv")
        assert (model["init_args"]["backbone"], model["init_args"]["budget"]) == (found[1], int(found[2]) / 100)
    if row.startswith("cad/"):
        assert model["class_path"].endswith("CAD")
    if row.endswith("_free.yaml"):
        assert model["init_args"]["area_weight"] == 0
    if row.endswith("erm.yaml"):
        assert model["class_path"].endswith("ERM")
    if found := re.search(r"aim/waterbirds(95|100)", row):
        assert data["class_path"].endswith("WaterBirds")
        assert data["init_args"]["root"].endswith(
            {"95": "complete95_forest2water2", "100": "1.0_forest2water2"}[found[1]]
        )


@pytest.mark.parametrize(
    ("row", "model", "trainer", "data", "rule"),
    [
        ("erm_sagawa", {"lr": 1e-3, "weight_decay": 1e-4}, 300, {"batch_size": 128}, "last"),
        (
            "group_dro_sagawa",
            {"lr": 1e-3, "weight_decay": 1e-4, "step_size": 0.01, "adjustment": 0.0},
            300,
            {"batch_size": 128, "sampling": "group_balanced"},
            "acc_worst_group",
        ),
        (
            "jtt",
            {"lr": 1e-5, "weight_decay": 1.0, "identification_epochs": 60, "upweight": 100},
            300,
            {"batch_size": 64},
            "acc_worst_group",
        ),
        (
            "dfr",
            {"lr": 1e-3, "weight_decay": 1e-3, "balanced": "validation", "fits": 20},
            100,
            {"batch_size": 32},
            "last",
        ),
    ],
)
def test_published_recipes_on_waterbirds(
    row: str,
    model: dict[str, Any],
    trainer: int,
    data: dict[str, Any],
    rule: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The commands in the READMEs of the released codes."""
    found = composed(f"waterbirds/{row}.yaml", capsys)
    common = {"optimizer": "sgd", "schedule": "constant", "warmup_epochs": 0, "backbone": "resnet50.tv_in1k"}
    arguments = found["model"]["init_args"]
    assert {key: arguments[key] for key in common | model} == common | model
    assert arguments["backbone_lr"] == arguments["lr"], "one rate for all"
    assert found["trainer"]["max_epochs"] == trainer
    assert {key: found["data"]["init_args"][key] for key in data} == data
    assert found["data"]["init_args"]["eval_transform"]["init_args"]["crop_fraction"] == 0.875
    assert found["selection"]["metric"] == rule


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        "waterbirds/group_dro_sagawa.yaml",
        "waterbirds/dfr.yaml",
        "aim/waterbirds95.yaml",
        "aim/waterbirds100/resnet50_erm.yaml",
        "dynconv/waterbirds95_resnet50_50.yaml",
        "cad/waterbirds95_resnet50.yaml",
    ],
)
def test_row_trains_and_tests_on_a_tiny_waterbirds(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    root, run = write_waterbirds(tmp_path / "birds"), tmp_path / "run"
    where = [f"--data.root={root}", "--data.cub_root=null", f"--run_dir={run}"]
    assert main(["fit", "--config", str(EXPERIMENTS / row), *where, *TINY]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val/acc_worst_group", "test/acc_worst_group", "test/epg", "test/pxap"} <= set(metrics)
    assert (run / "DONE").exists()


@pytest.mark.slow
@pytest.mark.parametrize("row", ["bottom_up_2", "aim_1"])
def test_row_trains_and_tests_on_a_tiny_cub(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    root, run = write_cub_tree(tmp_path / "birds"), tmp_path / "run"
    study = ["--config", str(EXPERIMENTS / "aim" / "cub_ablation_study.yaml"), "--row", row]
    assert main(["fit", *study, f"--data.root={root}", f"--run_dir={run}", *TINY]) == 0
    assert {"val/acc", "test/acc", "test/epg", "test/mask_area"} <= set(json.loads((run / "metrics.json").read_text()))
