"""Presets of the inherently explainable baselines say what their source says, and rows differ as their names say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from maskexp.cli.main import main

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def composed(file: str, capsys: pytest.CaptureFixture[str], row: str | None = None) -> dict[str, Any]:
    chosen = [] if row is None else ["--row", row]
    assert main(["fit", "--config", str(EXPERIMENTS / file), *chosen, "--print_config"]) == 0
    configuration: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return configuration


@pytest.mark.parametrize(
    ("file", "method", "epochs", "arguments"),
    [
        (
            "bcos/v2.yaml",
            "BCos",
            90,
            {"encoding": "inverse", "objective": "bce", "b": 2.0, "gradient_clipping": 0.01, "optimizer": "adam"}
            | {"lr": 1e-3, "backbone_lr": 1e-3, "weight_decay": 0.0, "warmup_epochs": 5.0, "schedule": "cosine"},
        ),
        (
            "comet/bcos_released.yaml",
            "BCos",
            200,
            {"encoding": "normalized", "objective": "cross_entropy", "gradient_clipping": 0.0, "lr": 5e-3}
            | {"backbone_lr": 5e-3, "schedule": "multistep", "milestones": [80, 120, 160], "gamma": 0.2},
        ),
        (
            "realx/paper.yaml",
            "REALX",
            200,
            {"estimator": "rebar", "temperature": 0.1, "grid": "cells", "target": "label", "area_weight": 5.0}
            | {"optimizer": "adam", "lr": 1e-4, "backbone_lr": 1e-4, "weight_decay": 0.0, "evaluator": True},
        ),
        (
            "comet/realx_released.yaml",
            "REALX",
            200,
            {"estimator": "relaxed", "temperature": 1.0, "grid": "pixels", "target": "classifier", "area_weight": 0.2}
            | {"optimizer": "adam", "lr": 1e-4, "backbone_lr": 1e-4, "weight_decay": 1e-4},
        ),
        (
            "rt_saliency/released.yaml",
            "RTSaliency",
            100,
            {"area_weight": 8.0, "area_power": 0.3, "smoothness": 0.005, "preserve_weight": 0.3, "destroy_weight": 1.0}
            | {"preserve_margin": 1.0, "destroy_margin": 5.0, "fake_share": 0.3, "confidence": 6.0, "lr": 1e-3}
            | {"optimizer": "adam", "weight_decay": 1e-4, "encoder": "classifier", "replacement": "random"},
        ),
        (
            "comet/rt_saliency_released.yaml",
            "RTSaliency",
            100,
            {"area_weight": 8.0, "smoothness": 0.5, "preserve_weight": 0.3, "destroy_weight": 1.0, "fake_share": 0.0}
            | {"encoder": "scratch", "replacement": "random_without_noise", "lr": 5e-4},
        ),
        (
            "rbaem/released.yaml",
            "RBAEM",
            5,
            {"area_weight": 1.0, "area_power": 0.5, "smoothness": 1e-4, "draw": True, "predictor_epochs": 100}
            | {"initial_sigma": 100 / 224, "lr": 1e-4, "weight_decay": 1e-4},
        ),
        (
            "comet/rbaem_released.yaml",
            "RBAEM",
            100,
            {"area_weight": 0.2, "area_power": 1.0, "smoothness": 0.0, "draw": False, "sigma": [0.0893, 0.2232]},
        ),
        ("diet/released.yaml", "DiET", 200, {"mask_cell": 4, "mask_lr": 0.025, "lr": 1e-4, "schedule": "constant"}),
        ("comet/diet_configuration.yaml", "DiET", 200, {"lr": 5e-3, "backbone_lr": 5e-3}),
    ],
)
def test_presets(
    file: str, method: str, epochs: int, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = composed(file, capsys)
    assert configuration["model"]["class_path"].endswith(method)
    assert configuration["trainer"]["max_epochs"] == epochs
    assert {name: configuration["model"]["init_args"][name] for name in arguments} == arguments


@pytest.mark.parametrize(
    ("study", "row", "method"),
    [
        ("comet/table2_imagenet9_study.yaml", "bcos", "BCos"),
        ("comet/table3_study.yaml", "bcos", "BCos"),
        ("comet/table2_nicopp_study.yaml", "realx", "REALX"),
        ("comet/table4_study.yaml", "rt_saliency", "RTSaliency"),
        ("comet/table5_nicopp_study.yaml", "rbaem", "RBAEM"),
        ("comet/table3_study.yaml", "diet", "DiET"),
    ],
)
def test_rows_of_published_baselines_can_be_run(
    study: str, row: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert composed(study, capsys, row)["model"]["class_path"].endswith(method)
