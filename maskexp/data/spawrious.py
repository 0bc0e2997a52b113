"""Spawrious (Lynch et al., 2023): generated dogs of four breeds on six locations."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.spawrious import Challenge, SpawriousLayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["Spawrious"]


class Spawrious(FileDataModule):
    """Four breeds of dogs on locations that change between training and test; groups are breed × location.

    One-to-one challenges (``o2o``) show 97 % and 87 % of a breed, in the two training environments, on one location;
    many-to-many ones (``m2m``) pairs of breeds on pairs of locations. Where the released code takes the first files of
    a directory listing, here it is the first in the order of their names. There is no official validation set.

    Args:
        root: folder ``spawrious224``, or the folder in which it lies.
        challenge: ``o2o_easy``, ``o2o_medium``, ``o2o_hard``, ``m2m_easy``, ``m2m_medium`` or ``m2m_hard``.
        val_fraction: share of the training pictures that is held out, of each group (default: one of the two shares in
            use, the other is 0.2).
        val_seed: of that draw.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` is missing.
        DataError: if folders or pictures are not as the challenge demands.
    """

    def __init__(
        self,
        root: str,
        *,
        challenge: Challenge = "o2o_easy",
        val_fraction: float = 0.1,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (challenge, val_fraction, val_seed)

    def find(self) -> SpawriousLayout:
        """Look the parts up."""
        return SpawriousLayout.find(self.root, *self._wishes)
