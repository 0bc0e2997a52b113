"""What a run left is read without torch, and damage is a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskexp.reports import RecordError, Report, find_runs, read_run, render
from maskexp.reports.intervals import wilson

CONFIG = "model:\n  class_path: maskexp.methods.AIM\n"


def _run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "metrics.json").write_text(json.dumps({"test/acc": 0.5, "test/epg": None, "test/acc_group/a/b": 0.25}))
    (folder / "env.json").write_text(json.dumps({"data": {"name": "birds", "variant": "v1", "digest": "abc"}}))
    return folder


def test_a_run_by_its_files(tmp_path: Path) -> None:
    run = read_run(_run(tmp_path / "run"))
    assert (run.name, run.method, run.data, run.digest) == ("run", "AIM", "birds (v1)", "abc")
    assert run.metric("acc") == 0.5
    assert run.metric("epg") is None
    assert run.groups == {"a/b": (0.25, None)}
    assert run.checkpoint is None
    assert not run.done
    assert run.audit is None


def test_curves_are_means_over_epochs_and_a_later_start_replaces_what_it_ran_again(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    for version, text in (
        (0, "epoch,step,train/loss,val/acc\n0,1,4,\n0,2,2,\n0,2,,0.5\n1,3,1,\n"),
        (10, "epoch,step,train/loss\n1,3,9\n2,4,nan\n"),
        (2, "epoch,step,train/loss\n1,3,7\n"),
    ):
        log = folder / "logs" / f"version_{version}"
        log.mkdir(parents=True)
        (log / "metrics.csv").write_text(text)
    assert read_run(folder).curves == {"train/loss": ((0.0, 1.0), (3.0, 9.0)), "val/acc": ((0.0,), (0.5,))}


def test_runs_are_found_in_a_folder_of_runs(tmp_path: Path) -> None:
    for name in ("b", "a", "group/c", "detectors/d", "group/predictors/e", "a.stale-20260101-000000"):
        _run(tmp_path / "runs" / name)
    assert [folder.name for folder in find_runs(tmp_path / "runs")] == ["a", "b", "c"]
    assert find_runs(tmp_path / "runs" / "a") == [tmp_path / "runs" / "a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no run"):
        find_runs(tmp_path / "empty")


@pytest.mark.parametrize("file", ["metrics.json", "env.json", "config.yaml", "evaluations/audit.json"])
def test_damage_names_the_file(tmp_path: Path, file: str) -> None:
    folder = _run(tmp_path / "run")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("[: {")
    with pytest.raises(RecordError, match=file.rpartition("/")[2]):
        read_run(folder)


def test_an_audit_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    (folder / "evaluations").mkdir()
    number = {"value": "x", "low": 0, "high": 1, "n": 3}
    finding = {"part": "x", "question": "", "number": number, "control": {}, "verdict": "", "sentence": ""}
    whole = {"images": 1, "of": 1, "split": "test", "mask": ""}
    for content in ({"findings": [{"part": "x"}]}, {"findings": [finding], **whole}):
        (folder / "evaluations" / "audit.json").write_text(json.dumps(content))
        with pytest.raises(RecordError, match="is no audit"):
            read_run(folder)
    finding["number"] = number | {"value": None}
    (folder / "evaluations" / "audit.json").write_text(json.dumps({"findings": [finding], **whole}))
    (folder / "env.json").write_text(json.dumps({"data": [1], "git": "x", "packages": 3, "evaluations": {"test": []}}))
    assert render(Report("odd", (read_run(folder),))).count("<section") == 3


def test_wilsons_interval_at_the_ends() -> None:
    # Wilson (1927): z² / (n + z²) is left where all or none are counted.
    assert wilson(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1), abs=1e-4)


def test_reports_need_no_torch() -> None:
    code = "import sys, maskexp.reports, maskexp.cli.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
