"""``maskexp audit`` through the real command: table, JSON, exit codes, data flags, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskexp.cli.arguments import data_flags
from maskexp.cli.main import main
from maskexp.evaluation.audit import VERDICTS, probe
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """How well the probe learns is tested elsewhere."""
    monkeypatch.setattr(probe, "STEPS", 10)


QUICK = ("--hiding", "grey", "--resamples", "20", "--device", "cpu")
PARTS = ["hidden_influence", "mask_as_code", "sufficiency", "completeness", "stability", "right_reasons"]


def test_one_table_with_a_sentence_for_each_part(trained: RunDirectory, maskexp: Command) -> None:
    best = trained.checkpoints / "best.ckpt"
    outcome = maskexp("audit", best, *QUICK, "--images", "10", "--data.test_size=12")
    assert outcome.code == 0, outcome.err
    assert "AIM, synthetic_birds" in outcome.out
    assert "10 of 12 images of test; what counts as shown is its mask" in outcome.out
    for part in PARTS:
        assert part.replace("_", " ") in outcome.out
    assert outcome.out.count("\n* ") == len(PARTS)
    assert "landbird/water" in outcome.out
    # Other data than the run's: its record stays as it is.
    assert not (trained.evaluations / "audit.json").exists()


def test_several_checkpoints_as_json(trained: RunDirectory, maskexp: Command) -> None:
    best, last = trained.checkpoints / "best.ckpt", trained.checkpoints / "last.ckpt"
    outcome = maskexp("audit", best, last, *QUICK, "--images", "12", "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert [answer["checkpoint"] for answer in content["checkpoints"]] == [str(best), str(last)]
    first = content["checkpoints"][0]
    assert [finding["part"] for finding in first["findings"]] == PARTS
    assert first["images"] == first["of"] == 12
    assert first["data"]["digest"]
    reasons = first["findings"][-1]
    assert len(reasons["ids"]) == len(reasons["rows"])
    assert sum(sum(counts.values()) for counts in reasons["groups"].values()) == 12
    assert content["between"]["part"] == "between_checkpoints"
    assert all(finding["verdict"] in VERDICTS for answer in content["checkpoints"] for finding in answer["findings"])
    written = json.loads((trained.evaluations / "audit.json").read_text())
    assert written == first
    (trained.evaluations / "audit.json").unlink()


def test_pipelines_fail_on_the_verdicts_that_they_name(trained: RunDirectory, maskexp: Command) -> None:
    args = ("audit", trained.checkpoints / "best.ckpt", *QUICK, "--images", "9", "--json", "--data.test_size=9")
    first = maskexp(*args)
    assert first.code == 0
    verdicts = {finding["verdict"] for finding in json.loads(first.out)["checkpoints"][0]["findings"]}
    others = sorted(set(VERDICTS) - verdicts)
    assert maskexp(*args, "--fail-on", ",".join(others)).code == 0
    reached = maskexp(*args, "--fail-on", min(verdicts).replace(" ", "-"))
    assert reached.code == 3
    assert min(verdicts) in reached.complaint


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--fail-on", "leek"), "there is no verdict 'leek'; did you mean 'leak'?"),
        (("--images", "0"), "--images is 0; an audit needs at least 1"),
        (("--tolerance", "1"), "tolerance is 1.0; it has to lie between 0 and 1"),
        (("--hiding", "gray"), "there is no way of hiding called 'gray'"),
        (("--split", "tset"), "tset"),
        (("--data.test_sizes", "3"), "test_size"),
        (("--data", "WaterBrids"), "WaterBirds"),
        (("--device", "cuda:99"), "--device cuda:99 cannot be used here"),
        (("--data.root",), "--data.root needs a value"),
    ],
)
def test_mistakes_are_sentences(trained: RunDirectory, maskexp: Command, flags: tuple[str, ...], sentence: str) -> None:
    outcome = maskexp("audit", trained.checkpoints / "best.ckpt", *flags)
    assert outcome.code in (1, 2)
    assert sentence in outcome.complaint
    assert "Error" not in outcome.complaint


def test_a_checkpoint_that_is_not_there(maskexp: Command) -> None:
    outcome = maskexp("audit", "nowhere.ckpt")
    assert outcome.code == 2
    assert "there is no checkpoint 'nowhere.ckpt'" in outcome.complaint


def test_a_plain_classifier_and_the_evaluation_of_test(tmp_path: Path, maskexp: Command) -> None:
    run = RunDirectory(tmp_path / "erm")
    fit = ["fit", "--model", "ERM", *SMALL, "--trainer.max_epochs=1", f"--run_dir={run}", "--test_after_fit=false"]
    assert main(fit) == 0
    best = run.checkpoints / "best.ckpt"
    outcome = maskexp("audit", best, *QUICK, "--map", "grad_cam", "--json")
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)["checkpoints"][0]
    assert answer["mask"] == "Grad-CAM of the predicted class above 0.5 (it has no mask)"
    chosen = "[{class_path: Audit, init_args: {hiding: [grey], resamples: 20}}]"
    assert maskexp("test", f"--ckpt_path={best}", *CPU, f"--evaluations={chosen}").code == 0
    metrics = run.read_metrics()
    for finding in answer["findings"]:
        assert metrics[f"test/audit/{finding['part']}"] == pytest.approx(finding["number"]["value"], abs=1e-6)
    assert (run.evaluations / "audit" / "parts.csv").is_file()


def test_flags_of_the_data_are_told_from_the_others() -> None:
    args = ["a.ckpt", "--data.root", "birds", "b.ckpt", "--config=x.yaml", "--json"]
    assert data_flags(args) == (["--data.root", "birds", "--config=x.yaml"], ["a.ckpt", "b.ckpt", "--json"])
