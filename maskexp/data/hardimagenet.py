"""HardImageNet (Moayeri et al., NeurIPS 2022): fifteen classes of ImageNet with strong spurious cues, and masks."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.hardimagenet import HardImageNetLayout
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["HardImageNet"]


class HardImageNet(FileDataModule):
    """Fifteen classes of ImageNet, from dogsled to snorkel, with the object's mask.

    The official validation pictures (at most 50 per class) are ``test``. Only pictures with a mask take part, as in the
    released code; ``maskexp data check`` lists the empty masks among them. Labels are in an order of our own: that of
    the released checkpoints is not confirmed.

    Args:
        root: folder ``hardImageNet`` of the masks, or the folder in which it lies.
        imagenet_root: folder of the pictures ``{train,val}/<wnid>/``: ImageNet, or the fifteen classes of it.
        val_fraction: share of the training pictures that is held out (default: ours), see :class:`~maskexp.data.CUB`.
        val_seed: of that draw.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if masks or pictures are missing.
        DataError: if they are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        imagenet_root: str | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (imagenet_root, val_fraction, val_seed)

    def find(self) -> HardImageNetLayout:
        """Look the parts up."""
        return HardImageNetLayout.find(self.root, *self._wishes)
