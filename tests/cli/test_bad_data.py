"""Damaged data through the real command: one sentence, a non-zero exit, no traceback, no directory left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import CPU, SMALL, Command
from tests.fixtures import corrupt_metadata, resize_image, truncate, write_waterbirds

MODEL = [arg for arg in SMALL if not arg.startswith("--data")]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny WaterBirds; its manifest is kept apart."""
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return write_waterbirds(tmp_path / "birds")


def fit(maskexp: Command, root: Path, *flags: str) -> str:
    """Return what the command complains about."""
    data = ["--data=WaterBirds", f"--data.root={root}", "--data.image_size=32", "--data.batch_size=8", *flags]
    outcome = maskexp("fit", "--model=AIM", *MODEL, *data)
    assert outcome.code in (1, 2)
    assert "Traceback" not in outcome.err
    return outcome.complaint


def write_own(root: Path, labels: Sequence[int]) -> list[str]:
    """Write a CSV of six of the images, two for each split, and return the flags that choose it."""
    images = sorted(path.relative_to(root).as_posix() for path in root.glob("*.*/*.jpg"))[:6]
    splits = ("train", "train", "val", "val", "test", "test")
    lines = [",".join(map(str, cells)) for cells in zip(images, labels, splits, strict=True)]
    (root / "own.csv").write_text("\n".join(["image,label,split", *lines]))
    return ["--data=Manifest", f"--data.csv={root / 'own.csv'}", "--data.image_size=32", "--data.num_workers=0"]


def test_missing_metadata(root: Path, maskexp: Command) -> None:
    (root / "metadata.csv").unlink()
    complaint = fit(maskexp, root)
    assert complaint.startswith("WaterBirds not found.")
    assert f"looked for  {root / 'metadata.csv'}\n" in complaint
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("place,", "background,", "metadata.csv lacks the column 'place'; it has img_id,"),
        (".jpg,0,0,0,", ".jpg,2,0,0,", "metadata.csv, line 2: y is '2', out of range"),
    ],
    ids=["wrong column", "label out of range"],
)
def test_wrong_metadata(old: str, new: str, sentence: str, root: Path, maskexp: Command) -> None:
    corrupt_metadata(root, old, new)
    assert sentence in fit(maskexp, root)
    assert not Path("runs").exists()


def test_mask_of_another_size(root: Path, maskexp: Command) -> None:
    mask = resize_image(min((root / "segmentations").glob("*/*.png")), (20, 30))
    assert fit(maskexp, root).startswith(f"the mask {mask} has 20x30 pixels but its image")
    assert not Path("runs").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_jpeg(workers: int, root: Path, maskexp: Command) -> None:
    path = truncate(min(root.glob("001*/*_0016.jpg")))
    complaint = fit(maskexp, root, f"--data.num_workers={workers}")
    assert complaint.startswith(f"{path} cannot be decoded: it is damaged")
    assert "\n" not in complaint


def test_label_out_of_range_in_a_table(root: Path, maskexp: Command) -> None:
    own = write_own(root, (0, 1, 0, 7, 0, 1))
    outcome = maskexp("fit", "--model=ERM", *MODEL, *own, "--data.classes=[land, water]")
    assert outcome.code == 1
    assert "own.csv, line 5: label '7' is out of range; there are 2" in outcome.complaint
    assert not Path("runs").exists()


def test_missing_test_split_is_noticed_before_the_training(root: Path, maskexp: Command) -> None:
    own = write_own(root, (0, 1, 0, 1, 0, 1))
    table = root / "own.csv"
    table.write_text(table.read_text().replace(",test", ",train"))
    outcome = maskexp("fit", "--model=ERM", *MODEL, *own)
    assert outcome.code == 2
    assert outcome.complaint.startswith("the data has no split 'test' to test on, only train, val; choose one by")
    assert not Path("runs").exists()


def test_the_chosen_test_split_is_looked_for_before_the_training(root: Path, maskexp: Command) -> None:
    own = write_own(root, (0, 1, 0, 1, 0, 1))
    table = root / "own.csv"
    table.write_text(table.read_text().replace(",test", ",ood"))
    outcome = maskexp("fit", "--model=ERM", *MODEL, *own, "--data.test_split=odo")
    assert outcome.code == 2
    assert outcome.complaint.startswith("the data has no split 'odo' to test on, only ood, train, val")
    assert not Path("runs").exists()
    quick = ["--trainer.max_epochs=1", "--gallery.every_n_epochs=0", "--run_dir=r"]
    assert maskexp("fit", "--model=ERM", *MODEL, *own, *quick, "--data.test_split=ood").code == 0


def test_data_of_other_classes_than_the_checkpoint(root: Path, maskexp: Command) -> None:
    own = write_own(root, (0, 1, 0, 1, 0, 1))
    quick = ["--trainer.max_epochs=1", "--test_after_fit=false", "--gallery.every_n_epochs=0", "--run_dir=r"]
    assert maskexp("fit", "--model=ERM", *MODEL, *own, *quick).code == 0
    outcome = maskexp("test", "--run_dir=r", "--ckpt_path=best", *CPU, *own, "--data.classes=[cat, dog]")
    assert outcome.code == 1
    assert "but the data own has 2 (cat, dog); use it with the data it was trained on" in outcome.complaint
