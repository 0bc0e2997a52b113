"""The example of CONTRIBUTING.md: a file in the right folder is a data set, for every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    "import sys, maskexp.data.datasets as datasets; datasets.__path__.append(sys.argv.pop(1)); "
    "from maskexp.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example as a module, and data for it."""
    (code,) = re.findall(r"```python\n(\"\"\"Shapes:.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared" / "shapes.py").write_text(code)
    for left, split in enumerate(("train", "val", "test")):
        for number, (shape, colour) in enumerate([(s, c) for s in ("circle", "square") for c in ("red", "blue")] * 2):
            image, mask = Image.new("RGB", (24, 24), colour), Image.new("L", (24, 24))
            for canvas, ink in ((image, "white"), (mask, 255)):
                draw = ImageDraw.Draw(canvas)
                (draw.ellipse if shape == "circle" else draw.rectangle)(
                    (left, number, left + 11, number + 11), fill=ink
                )
            for content, place in ((image, split), (mask, f"masks/{split}")):
                path = tmp_path / "shapes" / place / f"{shape}_{colour}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                content.save(path)
    return tmp_path


def command(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MASKEXP_CACHE": str(folder / "cache")}
    program = [sys.executable, "-c", RUN, str(folder / "declared"), *arguments]
    result = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_example_is_listed_and_checked(folder: Path) -> None:
    assert "Shapes: circles and squares, mostly on their own colour (Doe et al., 2026)" in command(
        folder, "data", "list"
    )
    assert "shapes (v1): valid" in command(folder, "data", "check", "Shapes", "shapes", "--decode")


@pytest.mark.slow
def test_the_example_trains_and_its_arguments_have_help(folder: Path) -> None:
    assert 'name of the folder of the masks in `root`, or "none"' in " ".join(
        command(folder, "fit", "--data.help=Shapes").split()
    )
    small = ["--model.backbone=small_convnet", "--model.weights=null", "--data.image_size=32", "--trainer.max_epochs=1"]
    fast = ["--trainer.accelerator=cpu", "--data.batch_size=4", "--data.num_workers=0"]
    printed = command(folder, "fit", "--model=AIM", "--data=Shapes", "--data.root=shapes", *small, *fast)
    assert "acc_group/circle/red" in printed
    assert "epg" in printed
