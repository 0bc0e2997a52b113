"""Transforms by class path through the real command, and runs of before they were objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command

DATA = ["fit", "--model=ERM", *SMALL]
FLIP = "--data.train_transform.flip"
FURTHER = "--data.train_transform.transforms"
CASES: dict[str, tuple[str, str]] = {
    "former key": ("--data.rotation=3", "unknown key data.rotation; write data.train_transform.rotation"),
    "unknown key": (
        "--data.train_transform.rotatio=3",
        "unknown key data.train_transform.rotatio; did you mean 'rotation'?",
    ),
    "no probability": (f"{FLIP}=1.5", "flip is 1.5; it must be a probability in [0, 1], e.g. 0.5"),
    "no number": (f"{FLIP}=true", "data.train_transform.flip is 'True', but has to be of type float"),
    "upside down": ("--data.train_transform.crop_scale=[0.9,0.1]", "crop_scale is (0.9, 0.1); it must be a lower and"),
    "not finite": ("--data.train_transform.rotation=.inf", "rotation is inf; it must be in [0, 180] degrees"),
    "empty crop": ("--data.eval_transform.crop_fraction=0", "crop_fraction is 0.0; it must be in (0, 1]"),
    "unknown transform": (f"{FURTHER}=[RandAugmen]", "names no transform 'RandAugmen'; did you mean 'RandAugment'?"),
    "unknown instead": ("--data.train_transform=RandAugmen", "names no transform 'RandAugmen'; did you mean"),
    "unknown argument": (
        FURTHER + '=[{"class_path":"RandAugment","init_args":{"num_op":3}}]',
        "unknown key data.train_transform.transforms.num_op; did you mean 'num_ops'?",
    ),
    "mixing one image": (f"{FURTHER}=[CutMix]", "CutMix mixes whole batches; give it as train_transform.mix"),
    "augmenting a batch": ("--data.train_transform.mix=RandAugment", "train_transform.mix takes MixUp and CutMix"),
    "normalising": (
        FURTHER + '=[{"class_path":"Normalize","init_args":{"mean":[0.5],"std":[0.5]}}]',
        "train_transform.transforms: Compose cannot be applied to a byte image and its mask",
    ),
    "other size": (
        '--data.eval_transform={"class_path":"Resize","init_args":{"size":[20,20]}}',
        "eval_transform leaves 20x20 pixels, but image_size is 32",
    ),
}


@pytest.mark.parametrize(("flag", "sentence"), CASES.values(), ids=CASES.keys())
def test_transforms_without_meaning_are_refused(
    flag: str, sentence: str, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    outcome = maskexp(*DATA, flag, "--run_dir=run")

    assert outcome.code in (1, 2)
    assert sentence in outcome.complaint
    assert "\n" not in outcome.complaint.strip()
    assert not RunDirectory("run").checkpoints.exists()


ROW = """
data:
  class_path: SyntheticBirds
  init_args:
    train_transform:
      init_args:
        rotation: 10
        crop_scale: null
        transforms:
          - class_path: torchvision.transforms.v2.RandAugment
            init_args: {num_ops: 1}
          - torchvision.transforms.v2.RandomErasing
        mix:
          class_path: torchvision.transforms.v2.RandomChoice
          init_args:
            transforms: [torchvision.transforms.v2.MixUp, {class_path: torchvision.transforms.v2.CutMix}]
    eval_transform:
      class_path: torchvision.transforms.v2.Compose
      init_args:
        transforms:
          - {class_path: torchvision.transforms.v2.Resize, init_args: {size: [36, 36]}}
          - {class_path: torchvision.transforms.v2.CenterCrop, init_args: {size: 32}}
"""


def test_torchvisions_transforms_in_a_row(tmp_path: Path, maskexp: Command) -> None:
    (tmp_path / "row.yaml").write_text(ROW)
    metrics = []
    for name, workers in (("a", 0), ("b", 2)):
        run = RunDirectory(tmp_path / name)
        fit = maskexp(*DATA, f"--config={tmp_path / 'row.yaml'}", f"--data.num_workers={workers}", f"--run_dir={run}")
        assert fit.code == 0, fit.complaint
        metrics.append(run.read_metrics())
    assert metrics[0] == metrics[1]

    moved = tmp_path / "elsewhere.ckpt"
    moved.write_bytes((RunDirectory(tmp_path / "a").checkpoints / "best.ckpt").read_bytes())
    test = maskexp("test", f"--ckpt_path={moved}", *CPU, f"--run_dir={tmp_path / 'c'}")
    assert test.code == 0, test.complaint
    again = RunDirectory(tmp_path / "c").read_metrics()
    assert again == {key: metrics[0][key] for key in again}


def former(arguments: dict[str, Any]) -> dict[str, Any]:
    """Write a datamodule's arguments as they were before transforms were objects."""
    train = arguments.pop("train_transform")["init_args"]
    evaluation = arguments.pop("eval_transform")["init_args"]
    geometry = {name: train[name] for name in ("crop_scale", "crop_ratio", "rotation", "photometric")}
    return arguments | geometry | evaluation | {"flip": train["flip"] == 0.5}


@pytest.mark.parametrize("kept", ["checkpoint", "run"])
def test_runs_of_before_go_on(kept: str, tmp_path: Path, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    changes = ["--data.train_transform.photometric=0.5", "--data.eval_transform.resize=center_crop"]
    assert maskexp(*DATA, *changes, f"--run_dir={run}").code == 0
    metrics = {key: value for key, value in run.read_metrics().items() if key.startswith("test/")}
    best = run.checkpoints / "best.ckpt"
    content = torch.load(best, weights_only=True)
    content["datamodule_hyper_parameters"] = former(content["datamodule_hyper_parameters"])
    if kept == "checkpoint":
        best = tmp_path / "moved.ckpt"
    else:
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        config["data"]["init_args"] = former(config["data"]["init_args"])
        (run.path / "config.yaml").write_text(json.dumps(config))
    torch.save(content, best)

    outcome = maskexp("test", f"--ckpt_path={best}", *CPU, f"--run_dir={tmp_path / 'again'}")

    assert outcome.code == 0, outcome.complaint
    assert "instead of" not in outcome.err
    assert RunDirectory(tmp_path / "again").read_metrics() == metrics
