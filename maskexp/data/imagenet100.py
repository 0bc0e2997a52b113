"""ImageNet-100: a hundred classes out of ImageNet."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.imagenet100 import ImageNet100Layout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["ImageNet100"]


class ImageNet100(FileDataModule):
    """A hundred classes of ImageNet by a named list.

    Several incompatible lists go by this name; ``notes`` say which one it is.

    The official validation pictures are ``test``. Labels are in the order of the sorted WordNet ids.

    Args:
        root: ImageNet, ``{train,val}/<wnid>/``, or the hundred classes of it.
        class_list: ``cmc`` (Tian et al.; also solo-learn's), or a text file whose lines begin with a WordNet id.
        boxes: ILSVRC's boxes: a folder of XML files, Kaggle's ``LOC_val_solution.csv``, or ``localization.txt`` of
            clovaai/wsolevaluation. A picture may have several.
        val_fraction: share of the training pictures that is held out (default: ours), see :class:`~maskexp.data.CUB`.
        val_seed: of that draw.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` or ``boxes`` are missing.
        DataError: if list, folders, boxes or pictures are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        class_list: str = "cmc",
        boxes: str | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (class_list, boxes, val_fraction, val_seed)

    def find(self) -> ImageNet100Layout:
        """Look the parts up."""
        return ImageNet100Layout.find(self.root, *self._wishes)
