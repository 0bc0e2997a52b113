"""BAM (Yang & Kim, Benchmarking Attribution Methods with Relative Feature Importance, 2019)."""

from __future__ import annotations

from typing import Any

from maskexp.data.builders.bam import BAMLayout, BAMSet
from maskexp.data.loading.file_datamodule import FileDataModule

__all__ = ["BAM"]


class BAM(FileDataModule):
    """Ten objects pasted on ten scenes, uncorrelated: the same pictures with the labels of objects or of scenes.

    Protocol (model contrast): train on ``obj`` and on ``scene``; attribution inside the object should be high for the
    first network and low for the second. Groups are object × scene. ``scene_only`` has the scenes without objects.
    Masks and boxes belong to the test pictures alone, which are the official validation pictures.

    Pictures called ``stop_sign`` show arbitrary objects, a slip of the released script; they carry the flag
    ``arbitrary``, and ``drop`` leaves them out.

    Args:
        root: folder ``data`` with ``obj``, ``scene`` and ``scene_only``, or the folder in which it lies.
        label_set: ``obj``, ``scene`` or ``scene_only``.
        drop: objects and scenes to leave out.
        val_fraction: share of the training pictures that is held out for validation, by their number (default: ours).
        val_seed: of that draw.
        **kwargs: see :class:`FileDataModule` and :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if the set is missing.
        DataError: if names, labels, boxes or masks are not as the layout demands.
    """

    def __init__(
        self,
        root: str,
        *,
        label_set: BAMSet = "obj",
        drop: list[str] | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self._wishes = (label_set, drop, val_fraction, val_seed)

    def find(self) -> BAMLayout:
        """Look the parts up; masks are made on first use."""
        return BAMLayout.find(self.root, *self._wishes, cache_dir=self.cache_dir)
