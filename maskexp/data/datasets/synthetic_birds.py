"""Drawn birds, the embedded default: made in memory, so that there are no files and no layout."""

from __future__ import annotations

from maskexp.data.info import DatasetInfo

__all__ = ["INFO"]

INFO = DatasetInfo(
    name="SyntheticBirds",
    title="SyntheticBirds",
    summary="drawn land and water birds on land and water scenes, any correlation; the embedded default",
    paper="ours",
    images="2000 / 400 / 800, or any other number",
    size="none",
    automatic="generated",
    command="maskexp fit --model AIM --data SyntheticBirds",
    foreground="exact masks",
    get="nothing to get: drawn in memory from a seed",
    licence="Apache-2.0",
)
"""The data set in words; its datamodule is :class:`maskexp.data.generate.synthetic_birds.SyntheticBirds`."""
