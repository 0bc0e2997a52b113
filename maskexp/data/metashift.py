"""MetaShift's cats and dogs (Liang & Zou, ICLR 2022), indoors and outdoors."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.metashift import MetaShiftLayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["MetaShift"]


class MetaShift(FileDataModule):
    """Cats and dogs, indoors and outdoors, as SubpopBench packs them; groups are animal × place.

    The sizes of the random split (65 / 10 / 25 %) are SubpopBench's; its own draw depends on the order of a directory
    listing, so that ours is another one, the same on every machine. The foreground is the box of each animal of the
    picture's kind where GQA's scene graphs are given, else there is none.

    Args:
        root: folder ``MetaShift-Cat-Dog-indoor-outdoor``, or the folder in which it lies.
        split_seed: of the random split.
        scene_graphs: GQA's ``{train,val}_sceneGraphs.json``: their folder, or one of them.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root``, or the scene graphs that were asked for, are missing.
        DataError: if folders or pictures are not as the layout demands.
    """

    def __init__(self, root: str, *, split_seed: int = 42, scene_graphs: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (split_seed, scene_graphs)

    def find(self) -> MetaShiftLayout:
        """Look the parts up."""
        return MetaShiftLayout.find(self.root, *self._wishes)
