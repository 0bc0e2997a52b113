"""What stands in more than one file of the project agrees."""

from __future__ import annotations

from pathlib import Path

import yaml

from maskexp import __version__

ROOT = Path(__file__).resolve().parents[1]


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
