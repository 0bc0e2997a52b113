"""HardImageNet (Moayeri et al., NeurIPS 2022): from its masks and ImageNet's images to a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.table import Row
from maskexp.files import expanded

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
"""The official validation images are our test images."""


@dataclass(frozen=True, slots=True)
class HardImageNetLayout(HeldOutLayout):
    """Fifteen classes of ImageNet, from dogsled to snorkel, with the object's mask.

    The official validation images (at most 50 per class) are ``test``. Only images with a mask take part, as in the
    released code; ``maskexp data check`` lists the empty masks among them. Labels are in an order of our own: that of
    the released checkpoints is not confirmed.

    Attributes:
        root: folder of the images, ``{train,val}/<wnid>/``: ImageNet, or the fifteen classes of it.
        masks: folder ``hardImageNet`` of the masks, ``{train,val}/<wnid>_<name of the image>``.
    """

    masks: Path

    name: ClassVar[str] = "hardimagenet"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="HardImageNet",
        title="HardImageNet",
        summary="fifteen classes of ImageNet with strong spurious cues",
        paper="Moayeri et al., NeurIPS 2022",
        images="about 19000, a share held out / at most 750",
        size="–",
        automatic="manual",
        command="maskexp data prepare HardImageNet data/hardimagenet --raw hardImageNet.zip",
        foreground="masks",
        get=(
            "https://github.com/mmoayeri/HardImageNet (masks), ImageNet (images); then --data.root and "
            "--data.imagenet_root"
        ),
        licence="terms of ImageNet",
    )
    needed: ClassVar[str] = "val"
    folders: ClassVar[tuple[str, ...]] = ("hardImageNet",)
    listing: ClassVar[str] = "the folder of the masks"

    @classmethod
    def find(
        cls,
        root: str | Path,
        imagenet_root: str | Path | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder ``hardImageNet`` of the masks, or the folder in which it lies.
            imagenet_root: folder of the images ``{train,val}/<wnid>/``: ImageNet, or the fifteen classes of it.
            val_fraction: share of the training images that is held out (default: ours), as in CUB.
            val_seed: of that draw.

        Raises:
            DatasetNotFoundError: if masks or images are missing.
            DataError: if ``imagenet_root`` was not given.
        """
        masks = cls.locate(root)
        if imagenet_root is None:
            raise DataError(
                "HardImageNet needs --data.imagenet_root, the folder of the images {train,val}/<wnid>/; --data.root "
                "holds its masks"
            )
        images = expanded(imagenet_root)
        if not (images / "val").is_dir():
            raise DatasetNotFoundError.explained(
                "HardImageNet's images", str(images / "val"), cls.info.way, "--data.imagenet_root"
            )
        return cls(images, val_fraction, val_seed, masks)

    @property
    def mask_root(self) -> Path:
        """Folder of the masks."""
        return self.masks

    def source_paths(self) -> list[Path]:
        """Return the folders of the masks and of the images."""
        classes = [self.root / split / wnid for split in SPLITS for wnid in CLASSES]
        return [*(self.masks / split for split in SPLITS), *classes]

    def rows(self) -> list[Row]:
        """Take the images that have a mask, as the released code does.

        The masks are called ``.JPEG`` whatever they are; files are decoded by their content.

        Raises:
            DataError: if a mask belongs to none of the fifteen classes.
        """
        labels = {wnid: label for label, wnid in enumerate(CLASSES)}
        rows = []
        for folder, split in SPLITS.items():
            for mask in image_files(self.masks / folder):
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
        """Return that every image has a mask."""
        return "soft", self.name

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say the counts: none is published that they could be compared with."""
        counts = Counter(row.split for row in rows)
        sizes = f"{counts['train']} training, {counts['val']} validation and {counts['test']} test images with masks"
        return (sizes, *HeldOutLayout.notes(self, rows))
