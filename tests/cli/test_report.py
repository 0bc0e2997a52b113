"""``maskexp report`` through the real command: a run, several, a study, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from maskexp.results import RunDirectory
from tests.cli.conftest import Command


def _gallery(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_a_run_with_images(trained: RunDirectory, tmp_path: Path, maskexp: Command) -> None:
    out = tmp_path / "page.html"
    outcome = maskexp("report", trained.path, "--out", out, "--images", "9", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert f"wrote {out}" in outcome.err
    page = out.read_text(encoding="utf-8")
    content = _gallery(page)
    assert len(content["sets"][0]["pictures"]) == len(content["models"][0]["judged"]) == 9
    assert content["models"][0]["shows"] == "mask"
    assert "9 of 12 images of test" in page
    assert "landbird/water" in page
    assert json.loads(trained.env_file.read_text())["data"]["digest"] in page


def test_the_numbers_of_the_gallery_are_those_of_the_test(
    trained: RunDirectory, tmp_path: Path, maskexp: Command
) -> None:
    out = tmp_path / "page.html"
    assert maskexp("report", trained.path, "--out", out, "--device", "cpu").code == 0
    judged = _gallery(out.read_text(encoding="utf-8"))["models"][0]["judged"]
    pictures = _gallery(out.read_text(encoding="utf-8"))["sets"][0]["pictures"]
    metrics = trained.read_metrics()
    right = [answer[0] == picture[1] for answer, picture in zip(judged, pictures, strict=True)]
    assert sum(right) / len(right) == pytest.approx(metrics["test/acc"])
    assert sum(answer[3] for answer in judged) / len(judged) == pytest.approx(metrics["test/epg"], abs=1e-3)
    assert sum(answer[4] for answer in judged) / len(judged) == pytest.approx(metrics["test/mask_area"], abs=1e-3)


def test_several_runs_share_their_images_and_one_without_a_checkpoint_is_named(
    trained: RunDirectory, tmp_path: Path, maskexp: Command
) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(trained.path, tmp_path / "runs" / name)
    shutil.rmtree(tmp_path / "runs" / "c" / "checkpoints")
    outcome = maskexp("report", tmp_path / "runs", "--images", "6", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "c is not in the gallery" in outcome.err
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    content = _gallery(page)
    assert [model["name"] for model in content["models"]] == ["a", "b"]
    assert len(content["sets"]) == 1
    assert "c is not in the gallery" in page


def test_a_study_without_images_and_without_runs(tmp_path: Path, maskexp: Command) -> None:
    study = tmp_path / "birds_study.yaml"
    study.write_text("study: birds\ntitle: Birds & <more>\nrows: [{name: one, file: one.yaml}]\ncolumns: [test/acc]\n")
    (tmp_path / "one.yaml").write_text("model: ERM\n")
    outcome = maskexp("report", study, "--runs", tmp_path / "runs", "--images", "0", "--out", tmp_path / "page.html")
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Birds &amp; &lt;more&gt;" in page
    assert "No run of the study is done" in page
    assert "1 missing" in page


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nowhere",), "there is no folder or study 'nowhere'"),
        (("{empty}",), "holds no run"),
        (("{run}", "--images", "-1"), "--images is -1"),
        (("{run}", "--runs", "x"), "--runs says where the runs of a study are"),
        (("a_study.yaml", "{run}"), "is a study, which has a page of its own"),
        (("{run}", "--images", "0", "--data.root", "x"), "--data.root changes the images"),
    ],
)
def test_mistakes_are_sentences(
    trained: RunDirectory, tmp_path: Path, maskexp: Command, args: tuple[str, ...], sentence: str
) -> None:
    outcome = maskexp("report", *(arg.format(run=trained.path, empty=tmp_path) for arg in args))
    assert outcome.code == 2
    assert sentence in outcome.complaint
    assert not (trained.path / "report.html").exists()
