"""TravelingBirds (Koh et al., Concept Bottleneck Models, ICML 2020): CUB whose backgrounds change at test time."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.travelingbirds import TravelingBirdsLayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["TravelingBirds"]


class TravelingBirds(FileDataModule):
    """Each species of CUB on one kind of place; in ``test`` on the place of another species.

    Further splits show the test pictures on random places (``random``) and on black (``black``), if their folders are
    there; ``test_split`` chooses one of them. There are no groups: compare ``acc`` of the splits.

    Each released folder holds all pictures of CUB, so that an image folder made of ``CUB_fixed/train`` would train on
    the test birds; here CUB's own split decides.

    Args:
        root: folder with ``CUB_fixed``, or the folder in which it lies.
        cub_root: CUB-200-2011, for labels, split, segmentations and boxes.
        segmentations: folder ``<class>/<stem>.png``, if not in ``cub_root`` or beside it.
        val_fraction: share of the training pictures that is held out, see :class:`~maskexp.data.CUB`.
        val_seed: of that draw.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or something else that was asked for, is missing.
        DataError: if tables, pictures or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        cub_root: str | None = None,
        segmentations: str | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (cub_root, segmentations, val_fraction, val_seed)

    def find(self) -> TravelingBirdsLayout:
        """Look the parts up."""
        return TravelingBirdsLayout.find(self.root, *self._wishes)
