"""COMET's presets say what their source says, each row changes what its name says, and the rows train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskexp.cli.main import main

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SMALL = [
    "--data.image_size=32",
    "--data.train_size=32",
    "--data.val_size=16",
    "--data.test_size=16",
    "--data.batch_size=16",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
PAPER = {
    "objective": "paper",
    "detector_weight": 5.0,
    "area_weight": 100.0,
    "area_budget": 0.1,
    "detector": "fixed",
    "predictor": "train",
    "detector_bn": "eval",
    "selector": "lraspp_mobilenet_v3_large",
    "selector_weights": None,
    "backbone": "resnet18",
    "weights": None,
    "lr": 5e-4,
    "backbone_lr": 5e-4,
}
RELEASED = PAPER | {
    "objective": "hinge",
    "detector_weight": 4.0,
    "gap": 2.0,
    "area_budget": 0.6,
    "selector_weights": "imagenet",
    "detector_bn": "batch",
    "weight_decay": 0.03,
    "schedule": "multistep",
    "warmup_epochs": 2.0,
    "milestones": [81, 121, 161],
    "gamma": 0.2,
}
HINGE = ("objective", "detector_weight", "area_budget", "detector_bn")


def composed(file: str, capsys: pytest.CaptureFixture[str], row: str | None = None) -> dict[str, Any]:
    chosen = [] if row is None else ["--row", row]
    assert main(["fit", "--config", str(EXPERIMENTS / file), *chosen, "--print_config"]) == 0
    configuration: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert configuration["model"]["class_path"].endswith("COMET")
    return configuration


@pytest.mark.parametrize(
    ("row", "arguments", "epochs"), [("comet/paper.yaml", PAPER, 200), ("comet/released.yaml", RELEASED, 199)]
)
def test_presets(row: str, arguments: dict[str, Any], epochs: int, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = composed(row, capsys)
    assert configuration["trainer"]["max_epochs"] == epochs
    assert {name: configuration["model"]["init_args"][name] for name in arguments} == arguments


@pytest.mark.parametrize(
    ("row", "difference"),
    [
        ("paper", {}),
        ("td", {"detector": "trainable"}),
        ("without_detector", {"detector": "none"}),
        ("fp", {"detector": "none", "predictor": "fixed"}),
        ("dr", {}),
        ("vit", {"backbone": "vit_small_patch16_224"}),
        ("layer_masking", {"hiding": "layer"}),
        ("released", RELEASED),
    ],
)
def test_a_row_of_imagenet9_differs_by_what_its_name_says(
    row: str, difference: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = composed("comet/variants_study.yaml", capsys, row)
    model, data = configuration["model"]["init_args"], configuration["data"]
    assert data["class_path"].endswith("ImageNet9")
    assert data["init_args"]["shuffle_labels_seed"] == (1 if row == "dr" else None)
    expected = PAPER | {"hiding": "#787362"} | difference
    assert {name: model[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("row", "difference"),
    [
        ("", {}),
        ("_released", {key: RELEASED[key] for key in HINGE} | {"gap": 0.63}),
        ("_without_detector", {"detector": "none"}),
        ("_td", {"detector": "trainable"}),
        ("_fp", {"detector": "none", "predictor": "fixed"}),
        ("_layer", {"hiding": "layer"}),
    ],
)
def test_a_row_on_drawn_birds_differs_by_what_its_name_says(
    row: str, difference: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = composed("synthetic/comet_study.yaml", capsys, f"comet{row}")["model"]["init_args"]
    base = composed("synthetic/comet.yaml", capsys)["model"]["init_args"]
    assert {key: value for key, value in model.items() if value != base[key]} == difference
    assert {key: base[key] for key in ("objective", "detector_weight", "area_weight", "area_budget")} == {
        key: PAPER[key] for key in ("objective", "detector_weight", "area_weight", "area_budget")
    }


@pytest.mark.slow
@pytest.mark.parametrize("row", ["comet", "comet_released", "comet_layer"])
def test_a_row_on_drawn_birds_trains_its_detector_and_itself(row: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    study = str(EXPERIMENTS / "synthetic" / "comet_study.yaml")
    assert main(["fit", "--config", study, "--row", row, "--evaluations=[]", f"--run_dir={run}", *SMALL]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/acc_worst_group", "test/pxap", "test/epg", "test/mask_area"} <= set(metrics)
    assert (run / "DONE").exists()
    assert len(list((tmp_path / "detectors").glob("erm-small_convnet-*/DONE"))) == 1
