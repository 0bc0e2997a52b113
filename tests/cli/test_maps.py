"""Attribution maps on the command line: ``test --maps``, ``explain --map``, and what is said about bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.attribution import attribution_map
from maskexp.cli import terminal
from maskexp.cli.explain_checkpoint import evaluation_pipeline, prepare_image
from maskexp.cli.terminal import ProgressNotes
from maskexp.methods import load_method
from maskexp.methods.checkpoint import read_checkpoint
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command

QUICK = "rise:masks=6"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((40, 40), Image.Resampling.BICUBIC).save(path)
    return path


def test_maps_alone_are_judged_by_localization_and_fidelity(
    trained: RunDirectory, maskexp: Command, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    maps = f"--maps=[own, grad_cam, score_cam, {QUICK}]"
    outcome = maskexp(
        "test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, maps, "--gallery.every_n_epochs=0",
        f"--run_dir={run.path}", "--data.test_size=6",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    metrics = json.loads((run.path / "metrics.json").read_text())
    for name in ("", "_grad_cam", "_score_cam", f"_{QUICK}", "_random"):
        assert f"test/localization/epg{name}" in metrics
        assert f"test/fidelity/grey/pipeline/10{name}" in metrics
        assert f"test/localization/constant_maps{name}" in metrics
    assert "RISE (masks=6)" in outcome.out
    assert "Score-CAM" in outcome.out


def test_maps_without_foregrounds_are_judged_by_fidelity_alone(
    trained: RunDirectory, maskexp: Command, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    outcome = maskexp(
        "test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--maps=[layer_cam]", "--data.foreground=none",
        "--gallery.every_n_epochs=0", f"--run_dir={run.path}", "--data.test_size=6",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert "test/fidelity/grey/pipeline/10_layer_cam" in metrics
    assert not any("localization" in key for key in metrics)


def test_maps_go_to_the_evaluations_that_name_none(trained: RunDirectory, maskexp: Command, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    own = "{class_path: Localization, init_args: {maps: [layer_cam]}}"
    evaluations = f"--evaluations=[{{class_path: Fidelity, init_args: {{shares: [0.1]}}}}, {own}]"
    outcome = maskexp(
        "test", "--ckpt_path", trained.checkpoints / "best.ckpt", *CPU, "--maps=[xgrad_cam]", evaluations,
        "--gallery.every_n_epochs=0", f"--run_dir={run.path}", "--data.test_size=6",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert "test/fidelity/grey/pipeline/10_xgrad_cam" in metrics
    assert "test/fidelity/grey/pipeline/10_grad_cam" not in metrics
    assert "test/localization/epg_layer_cam" in metrics
    assert "test/localization/epg_xgrad_cam" not in metrics


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--maps=[own, scorecam]"], "there is no map called 'scorecam'; did you mean 'score_cam'?"),
        (["--maps=[rise:mask=3]"], "the map rise has no setting 'mask'; did you mean 'masks'?"),
        (["--maps=[attention_rollout]"], "attention_rollout follows the attention of a vision transformer"),
        (["--maps=[grad_cam:layer=layer9]"], "AIMNetwork has no layer 'layer9'"),
        (["--maps=[rise]", "--evaluations=[MaskLeakage]"], "MaskLeakage judges none; add Localization or Fidelity"),
    ],
)
def test_bad_maps_are_refused_in_a_sentence(
    trained: RunDirectory, maskexp: Command, tmp_path: Path, flags: list[str], complaint: str
) -> None:
    checkpoint = trained.checkpoints / "best.ckpt"
    outcome = maskexp("test", "--ckpt_path", checkpoint, *CPU, *flags, f"--run_dir={tmp_path / 'run'}")
    assert outcome.code != 0
    assert complaint in outcome.complaint
    assert not (tmp_path / "run").exists()


def test_explain_writes_each_chosen_map(trained: RunDirectory, maskexp: Command, photo: Path, tmp_path: Path) -> None:
    checkpoint = trained.checkpoints / "best.ckpt"
    flags = ["--map", QUICK, "--map", "grad_cam", "--out", tmp_path / "out", "--json"]
    outcome = maskexp("explain", checkpoint, photo, *flags)
    assert outcome.code == 0, outcome.err
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [
        "photo_grad_cam.png",
        "photo_grad_cam_overlay.png",
        "photo_rise_masks=6.png",
        "photo_rise_masks=6_overlay.png",
    ]
    assert sorted(Path(picture).name for picture in json.loads(outcome.out)["pictures"]) == files
    method = load_method(checkpoint)
    image = prepare_image(photo, evaluation_pipeline(read_checkpoint(checkpoint)))[None] / 255
    with torch.no_grad():
        target = method(image).logits.argmax(dim=1)
    found = attribution_map(QUICK)(method.network, image, target)
    drawn = np.asarray(Image.open(tmp_path / "out" / "photo_rise_masks=6.png"))
    np.testing.assert_allclose(drawn / 255, found[0, 0].numpy(), atol=0.003)


def test_explain_refuses_maps_before_it_reads_an_image(trained: RunDirectory, maskexp: Command, tmp_path: Path) -> None:
    checkpoint, nowhere = trained.checkpoints / "best.ckpt", tmp_path / "nowhere.png"
    for name, complaint in (
        ("risee", "there is no map called 'risee'; did you mean 'rise'?"),
        ("attention_rollout", "AIMNetwork is none with attention over all of its tokens"),
    ):
        outcome = maskexp("explain", checkpoint, nowhere, "--map", name)
        assert outcome.code == 1
        assert complaint in outcome.complaint


def test_maps_that_take_long_say_how_far_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    notes = ProgressNotes()
    for done in range(10, 101, 10):
        notes("rise", done, 100)
        now += 4.0
    said = capsys.readouterr().err.splitlines()
    assert said == ["maskexp: rise: 40 of 100 forward passes for this batch, about 24 s left"]
    now += 100
    notes("rise", 10, 100)  # the next batch begins anew
    assert capsys.readouterr().err == ""
