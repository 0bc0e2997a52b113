"""Inherently explainable baselines through the real command: fit, test, predict, explain, resume, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.cli.main import main
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command
from tests.cli.test_preemption import kill
from tests.cli.test_resume import assert_same_training

SELECTOR = ["--model.selector=small_convnet", "--model.selector_stride=4"]
STILL = ["--data.train_transform.crop_scale=null", "--data.train_transform.flip=0", "--trainer.max_epochs=10"]
METHODS: dict[str, list[str]] = {
    "BCos": ["--model=BCos", "--model.warmup_epochs=0"],
    "REALX": ["--model=REALX", *SELECTOR, "--model.predictor_epochs=1"],
    "DiET": ["--model=DiET", "--model.explain_steps=2", "--model.classifier_epochs=1", *STILL],
    "RBAEM": ["--model=RBAEM", "--model.decoder_width=8", "--model.predictor_epochs=1"],
    "RTSaliency": ["--model=RTSaliency", "--model.decoder_width=8", "--model.classifier_epochs=1"],
}
"""Flags of each method that make it small."""
MASKED = ("DiET", "REALX", "RBAEM", "RTSaliency")
"""Methods whose network has a mask."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs lie, so that what is trained first is trained once."""
    return tmp_path_factory.mktemp("inherent")


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, folder: Path) -> tuple[str, RunDirectory]:
    """A finished run of each method."""
    run = RunDirectory(folder / request.param.lower())
    assert main(["fit", *SMALL, *METHODS[request.param], f"--run_dir={run}"]) == 0
    return request.param, run


def test_trains_tests_predicts_and_explains(
    finished: tuple[str, RunDirectory], maskexp: Command, tmp_path: Path
) -> None:
    name, run = finished
    metrics = run.read_metrics()
    kept = torch.load(run.checkpoints / "best.ckpt", weights_only=True)["callbacks"]["KeepCheckpoints"]["rule"]
    assert kept == ("acc_worst_group" if name == "BCos" else "last"), "accuracy says nothing of a selector"
    assert {"val/acc_worst_group", "test/acc_worst_group", "test/epg", "test/pxap", "test/epg_grad_cam"} <= set(metrics)
    assert ("test/mask_area" in metrics) == (name in MASKED)
    assert maskexp("test", "--ckpt_path", run.checkpoints / "best.ckpt", *CPU).code == 0
    assert run.read_metrics() == metrics
    assert maskexp("predict", "--run_dir", run, "--ckpt_path", "best", "--save_attributions=true", *CPU).code == 0
    assert (run.path / "predictions.csv").is_file()
    image = tmp_path / "bird.png"
    Image.fromarray((np.random.default_rng(0).random((40, 32, 3)) * 255).astype(np.uint8)).save(image)
    outcome = maskexp("explain", run.checkpoints / "best.ckpt", image, "--json", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert all(Path(picture).is_file() for picture in json.loads(outcome.out)["pictures"])


@pytest.mark.slow
def test_stopped_inside_an_epoch_and_resumed_is_bit_equal(
    finished: tuple[str, RunDirectory], folder: Path, maskexp: Command
) -> None:
    name, whole = finished
    run, flags = RunDirectory(folder / f"{name.lower()}-stopped"), [*SMALL, *METHODS[name]]
    assert maskexp("fit", *flags, f"--run_dir={run}", *kill("SIGUSR1", "batch_end", 1, 0)).code == 75
    assert maskexp("fit", f"--run_dir={run}", "--ckpt_path=last", "--trainer.callbacks=null").code == 0
    assert_same_training(run, whole)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model=BCos", "--model.backbone=convnext_tiny"], "B-cos cannot convert 'convnext_tiny', which has a layer"),
        (["--model=BCos", "--model.weights=timm"], "timm's hub has no B-cos networks"),
        (["--model=BCos", "--model.b=0"], "b is 0.0; it must be at least 1"),
        (["--model=REALX", *SELECTOR, "--model.hiding=layer"], "REALX shows images through soft masks, which 'layer'"),
        (["--model=REALX", *SELECTOR, "--data.image_size=34"], "cells of 4 pixels do not fill images of 34 × 34"),
        (["--model=REALX", *SELECTOR, "--model.predictor_checkpoint=no.ckpt"], "no.ckpt"),
        (["--model=RTSaliency", "--model.classifier_checkpoint=no.ckpt"], "no.ckpt"),
        (
            ["--model=RTSaliency", "--model.classifier_checkpoint=no.ckpt", "--model.classifier_epochs=3"],
            "so that nothing obeys --model.classifier_epochs",
        ),
        (["--model=RBAEM", "--model.sigma=[0.4,0.1]"], "give the smaller share of the side first"),
        (["--model=RBAEM", "--model.predictor_checkpoint=no.ckpt"], "no.ckpt"),
        (["--model=DiET", "--model.classifier_checkpoint=no.ckpt", *STILL], "no.ckpt"),
        (["--model=DiET", "--trainer.max_epochs=9"], "DiET has 5 rounds of two phases, which 9 epochs are too few for"),
        (["--model=DiET", "--trainer.max_epochs=10"], "training moves the pixels: give --data.train_transform"),
        (["--model=MaskedClassifier", "--model.target=classifier", "--model.classifier_epochs=-1"], "takes at least 1"),
        (["--model=REALX", *SELECTOR, "--model.predictor_epochs=0"], "0 epochs of the predictor's training are asked"),
        (["--model=RTSaliency", "--model.encoder_stages=9"], "stages is 9, but 'test_resnet' has 5; choose 1 to 5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_a_sentence(flags: list[str], sentence: str, maskexp: Command, tmp_path: Path) -> None:
    outcome = maskexp("fit", *SMALL, *flags, f"--run_dir={tmp_path / 'r'}")
    assert outcome.code != 0
    assert sentence in outcome.complaint
    assert "\n" not in outcome.complaint.strip()
    assert not list(tmp_path.iterdir()), "nothing was trained first, nor anything written"


def test_a_checkpoint_of_another_method_is_told(trained: RunDirectory, maskexp: Command, tmp_path: Path) -> None:
    given = f"--model.classifier_checkpoint={trained.checkpoints / 'best.ckpt'}"
    outcome = maskexp("fit", *SMALL, "--model=RTSaliency", given, f"--run_dir={tmp_path / 'r'}")
    assert outcome.code != 0
    assert "holds the method AIM; RTSaliency needs a classifier of ERM" in outcome.complaint
    assert not (tmp_path / "r").exists()
