from __future__ import annotations

import subprocess
import sys

import pytest

import maskexp.data
from maskexp.data import ImageDataModule
from maskexp.data.catalog import CATALOG
from maskexp.data.check import CHECKABLE


@pytest.mark.parametrize(
    "module", ["maskexp.data", "maskexp.data.catalog", "maskexp.data.check", "maskexp.data.errors"]
)
def test_light_modules_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'lightning', 'torchvision'}} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_catalogue_lists_every_datamodule_and_no_other() -> None:
    public = {name: getattr(maskexp.data, name) for name in maskexp.data.__all__}
    datamodules = {name for name, value in public.items() if issubclass(value, ImageDataModule)} - {"ImageDataModule"}

    assert {entry.name for entry in CATALOG} == datamodules
    assert set(CHECKABLE) <= datamodules


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'WaterBird'"):
        _ = maskexp.data.WaterBird  # type: ignore[attr-defined]
