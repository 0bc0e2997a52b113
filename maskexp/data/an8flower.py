"""an8Flower (Oramas et al., Visual Explanation by Interpretation, ICLR 2019)."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.an8flower import An8FlowerLayout, FlowerSet
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["An8Flower"]


class An8Flower(FileDataModule):
    """Rendered plants whose class is the colour of one part; the mask is that part, not the plant. No groups.

    ``double_12c`` has six colours of flower or stem, ``single_6c`` six colours of one part. No official split and no
    counts are known, so that the split is ours; COMET's (on ``double_12c``) was never published. Protocol: area under
    the IoU over the threshold of the map.

    Args:
        root: folder with ``an8Flower_<set>`` and ``an8Flower_<set>_MASK``, or the first of the two.
        flower_set: ``double_12c`` or ``single_6c``.
        test_fraction: share of each class's pictures that is for testing (default: ours).
        val_fraction: share of the others that validates (default: released code of Macdonald et al., jmaces/rde).
        split_seed: of the draw for testing.
        val_seed: of the draw for validation.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if ``root`` is missing.
        DataError: if folders, pictures or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        flower_set: FlowerSet = "double_12c",
        test_fraction: float = 0.2,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (flower_set, test_fraction, val_fraction, split_seed, val_seed)

    def find(self) -> An8FlowerLayout:
        """Look the parts up; masks are made binary on first use."""
        return An8FlowerLayout.find(self.root, *self._wishes, cache_dir=self.cache_dir)
