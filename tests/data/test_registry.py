from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import maskexp.data
from maskexp.cli.data import ACTIONS
from maskexp.cli.data_make import PARSERS
from maskexp.data import ImageDataModule
from maskexp.data.downloads.prepare import PREPARABLE
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.check import CHECKABLE
from maskexp.data.registry import DATASETS, DOWNLOADS, markdown_table


@pytest.mark.parametrize(
    "module", ["maskexp.data", "maskexp.data.registry", "maskexp.data.manifest.check", "maskexp.data.errors"]
)
def test_light_modules_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'lightning', 'torchvision'}} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_catalogue_lists_every_datamodule_and_no_other() -> None:
    public = {name: getattr(maskexp.data, name) for name in maskexp.data.__all__}
    datamodules = {name for name, value in public.items() if issubclass(value, ImageDataModule)} - {"ImageDataModule"}

    assert set(DATASETS) == datamodules
    assert set(CHECKABLE) <= datamodules


def test_readme_counts_the_catalogue() -> None:
    readme = Path(__file__).resolve().parents[2] / "README.md"

    assert f"{len(DATASETS)} data sets" in readme.read_text(encoding="utf-8")


def test_the_table_of_the_documentation_has_a_row_for_each() -> None:
    assert [line.split("`")[1] for line in markdown_table().splitlines()[2:]] == list(DATASETS)


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_commands_exist_and_say_what_is_automatic(entry: DatasetInfo) -> None:
    program, verb, action, *words = entry.command.split()

    assert program == "maskexp"
    if verb == "fit":
        assert f"--data {entry.name}" in entry.command
        return
    assert (verb, action in ACTIONS) == ("data", True)
    assert words[0].partition("-")[0].lower() == entry.name.lower()
    if action == "prepare":
        assert words[0] in PREPARABLE
        assert (entry.automatic == "yes") == (words[0] in DOWNLOADS)
        assert (entry.automatic == "manual") == ("--raw" in words)
    elif action == "make":
        assert words[0] in PARSERS
        assert PARSERS[words[0]]().parse_args(words[1:])
        assert entry.automatic == "generated"
    else:
        assert (entry.name in CHECKABLE, entry.automatic) == (True, "manual")


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'WaterBird'"):
        _ = maskexp.data.WaterBird  # type: ignore[attr-defined]
