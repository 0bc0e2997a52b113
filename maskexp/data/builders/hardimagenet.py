"""HardImageNet (Moayeri et al., NeurIPS 2022): from its masks and ImageNet's pictures to a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.builders.folders import pictures
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.table import Row

__all__ = ["CLASSES", "HardImageNetLayout"]

CLASSES = {
    "n03218198": "dogsled",
    "n02492660": "howler monkey",
    "n04162706": "seat belt",
    "n04228054": "ski",
    "n04356056": "sunglasses",
    "n02807133": "bathing cap",
    "n02777292": "balance beam",
    "n03535780": "horizontal bar",
    "n03899768": "patio",
    "n04019541": "puck",
    "n03770439": "miniskirt",
    "n04264628": "space bar",
    "n04540053": "volleyball",
    "n09835506": "ballplayer",
    "n04251144": "snorkel",
}
"""Names by WordNet id. Their order is ours: that of the released ``hard_imagenet_idx.pkl`` is not confirmed."""
SPLITS = {"train": "train", "val": "test"}
"""The official validation pictures are our test pictures."""


@dataclass(frozen=True, slots=True)
class HardImageNetLayout(HeldOutLayout):
    """Where the parts of HardImageNet lie.

    Attributes:
        root: folder of the pictures, ``{train,val}/<wnid>/``: ImageNet, or the fifteen classes of it.
        masks: folder ``hardImageNet`` of the masks, ``{train,val}/<wnid>_<name of the picture>``.
    """

    masks: Path

    name: ClassVar[str] = "hardimagenet"
    title: ClassVar[str] = "HardImageNet"
    get_it: ClassVar[str] = (
        "https://github.com/mmoayeri/HardImageNet links to the masks (hardImageNet.zip) and to the pictures of the "
        "fifteen classes (terms of ImageNet)"
    )
    needed: ClassVar[str] = "val"
    folders: ClassVar[tuple[str, ...]] = ("hardImageNet",)
    listing: ClassVar[str] = "the folder of the masks"
    licence: ClassVar[str] = "terms of ImageNet"
    places: ClassVar[dict[str, str]] = {"imagenet_root": "folder of the pictures, {train,val}/<wnid>/"}

    @classmethod
    def find(
        cls,
        root: str | Path,
        imagenet_root: str | Path | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.HardImageNet`.

        Raises:
            DatasetNotFoundError: if masks or pictures are missing.
            DataError: if ``imagenet_root`` was not given.
        """
        masks = cls.locate(root)
        if imagenet_root is None:
            raise DataError(
                "HardImageNet needs --data.imagenet_root, the folder of the pictures {train,val}/<wnid>/; --data.root "
                "holds its masks"
            )
        images = Path(imagenet_root).expanduser()
        if not (images / "val").is_dir():
            raise DatasetNotFoundError.explained(
                "HardImageNet's pictures", str(images / "val"), cls.get_it, "--data.imagenet_root"
            )
        return cls(images, val_fraction, val_seed, masks)

    @property
    def mask_root(self) -> Path:
        """Folder of the masks."""
        return self.masks

    def watched(self) -> list[Path]:
        """Return the folders of the masks and of the pictures."""
        classes = [self.root / split / wnid for split in SPLITS for wnid in CLASSES]
        return [*(self.masks / split for split in SPLITS), *classes]

    def rows(self) -> list[Row]:
        """Take the pictures that have a mask, as the released code does.

        The masks are called ``.JPEG`` whatever they are; files are decoded by their content.

        Raises:
            DataError: if a mask belongs to none of the fifteen classes.
        """
        labels = {wnid: label for label, wnid in enumerate(CLASSES)}
        rows = []
        for folder, split in SPLITS.items():
            for mask in pictures(self.masks / folder):
                wnid, _, name = mask.name.partition("_")
                if wnid not in labels:
                    raise DataError(f"{mask} belongs to none of the fifteen classes of HardImageNet; extract it again")
                image = f"{folder}/{wnid}/{name}"
                rows.append(Row(Path(name).stem, split, labels[wnid], image, mask=f"{folder}/{mask.name}"))
        return self.held_out(rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the fifteen classes."""
        return tuple(CLASSES.values())

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that every picture has a mask."""
        return "soft", self.name

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say the counts: none is published that they could be compared with."""
        counts = Counter(row.split for row in rows)
        sizes = f"{counts['train']} training, {counts['val']} validation and {counts['test']} test pictures with masks"
        return (sizes, *HeldOutLayout.notes(self, rows))
