"""NICO++ (Zhang et al., CVPR 2023): 60 classes in six contexts."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.nicopp import NICOPlusPlusLayout, Protocol
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["NICOPlusPlus"]


class NICOPlusPlus(FileDataModule):
    """60 classes in the contexts autumn, dim, grass, outdoor, rock and water; groups are class × context.

    Protocols:

    - ``subpop``: SubpopBench's rule and sizes. Its own draw depends on the order of a directory listing, so that ours
      is another one, the same on every machine.
    - ``comet_like``: a draw of COMET's sizes, balanced over contexts. COMET's own was never published.
    - ``autumn_rock``, ``dim_grass``, ``outdoor_water``: the official test pairs of contexts; the other four train.

    There is no foreground.

    Args:
        root: folder with ``public_dg_0416`` and ``dg_label_id_mapping.json``, or the folder in which it lies.
        protocol: one of the above.
        val_fraction: share of the training pictures that the official protocols hold out (default: ours).
        split_seed: of the random split.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` is missing.
        DataError: if mapping, folders or pictures are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        protocol: Protocol = "subpop",
        val_fraction: float = 0.1,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (protocol, val_fraction, split_seed)

    def find(self) -> NICOPlusPlusLayout:
        """Look the parts up."""
        return NICOPlusPlusLayout.find(self.root, *self._wishes)
