"""CUB-200-2011 (Wah et al., 2011): from the official folder to a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.builders.cub_foreground import CUBForeground
from maskexp.data.errors import DataError
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["TABLES", "Bird", "CUBBirdsLayout", "CUBLayout", "class_names", "read_birds"]

KNOWN_COUNTS = {"official": {"train": (5994,), "test": (5794,)}}
"""Pictures of the official split; the training pictures are ours to hold some out of."""
TABLES = ("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")
GREY = (
    *("Brewer_Blackbird_0028_2682", "Pelagic_Cormorant_0022_23802", "Ivory_Gull_0040_49180", "Ivory_Gull_0085_49456"),
    *("Western_Gull_0002_54825", "Mallard_0130_76836", "Clark_Nutcracker_0020_85099"),
    "White_Necked_Raven_0070_102645",
)
"""Stems of the grey-level pictures."""
OVERLAP = "CUB's authors warn that it shares pictures with ImageNet: numbers of pretrained backbones are optimistic"


@dataclass(frozen=True, slots=True)
class Bird:
    """One line of CUB's tables.

    Attributes:
        id: the picture's number in ``images.txt``, as text.
        image: path ``<class>/<stem>.jpg``.
        label: class, from 0.
        train: whether the picture belongs to the official training split.
    """

    id: str
    image: str
    label: int
    train: bool


@dataclass(frozen=True, slots=True)
class CUBBirdsLayout(HeldOutLayout):
    """CUB's birds and their official split, on their own pictures or on others.

    Attributes:
        foreground: segmentations and boxes of CUB.
    """

    foreground: CUBForeground

    @property
    def mask_root(self) -> Path | None:
        """Folder of the segmentations."""
        return self.foreground.segmentations

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what CUB's segmentations are."""
        return self.foreground.kind, self.foreground.source

    def known(self) -> Mapping[str, Counts]:
        """Return the official split."""
        return KNOWN_COUNTS


@dataclass(frozen=True, slots=True)
class CUBLayout(CUBBirdsLayout):
    """Where the parts of CUB-200-2011 lie.

    Attributes:
        root: folder ``CUB_200_2011``; segmentations lie in it or beside it.
    """

    name: ClassVar[str] = "cub"
    title: ClassVar[str] = "CUB-200-2011"
    get_it: ClassVar[str] = (
        "https://data.caltech.edu/records/65de6-vp158 (CUB_200_2011.tgz, md5 97eceeb196236b17998738112f37df78) and "
        "https://data.caltech.edu/records/w9d68-gec53 (segmentations.tgz, md5 4d47ba1228eae64f2fa547c47bc65255); "
        "extract both (non-commercial research only)"
    )
    needed: ClassVar[str] = "images.txt"
    folders: ClassVar[tuple[str, ...]] = ("CUB_200_2011",)
    listing: ClassVar[str] = "images.txt"
    licence: ClassVar[str] = "non-commercial research"
    places: ClassVar[dict[str, str]] = {"segmentations": "folder of the segmentations"}

    @classmethod
    def find(
        cls,
        root: str | Path,
        segmentations: str | Path | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up; the arguments are those of :class:`~maskexp.data.CUB`.

        Raises:
            DatasetNotFoundError: if the root, or the segmentations that were asked for, are missing.
        """
        found = cls.locate(root)
        return cls(found, val_fraction, val_seed, CUBForeground.find(cls.title, found, segmentations))

    def watched(self) -> list[Path]:
        """Return CUB's tables, the folders of the pictures and the foreground."""
        return [*(self.root / name for name in TABLES), self.root / "images", *self.foreground.watched()]

    def rows(self) -> list[Row]:
        """Read CUB's tables.

        Raises:
            DataError: if they are damaged or disagree.
        """
        birds = read_birds(self.root)
        masks, boxes = self.foreground.masks(bird.image for bird in birds), self.foreground.boxes()
        rows = [
            Row(
                id=bird.id,
                split="train" if bird.train else "test",
                label=bird.label,
                image=f"images/{bird.image}",
                mask=masks.get(bird.image, ""),
                box=boxes.get(bird.id),
                pair_id=bird.id,
                flags="grayscale" if Path(bird.image).stem in GREY else "",
            )
            for bird in birds
        ]
        return self.held_out(rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The species, as ``classes.txt`` writes them."""
        return class_names(self.root)

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Count what is not segmented, and warn of the overlap with ImageNet."""
        without = sum(not row.mask for row in rows) if self.mask_root else 0
        missing = [f"{without} of {len(rows)} pictures have no segmentation"] if without else []
        return (*missing, *HeldOutLayout.notes(self, rows), OVERLAP)


def read_birds(root: Path) -> list[Bird]:
    """Read ``images.txt``, ``image_class_labels.txt`` and ``train_test_split.txt``, joined by the picture's number.

    Raises:
        DataError: if a table is damaged or lacks a picture.
    """
    images = _table(root / "images.txt")
    labels, trained = _table(root / "image_class_labels.txt"), _table(root / "train_test_split.txt")
    known = len(class_names(root))
    birds = []
    for identity, image in images.items():
        for name, table, allowed in (
            ("image_class_labels.txt", labels, range(1, known + 1)),
            ("train_test_split.txt", trained, range(2)),
        ):
            if identity not in table:
                raise DataError(f"{root / name} lacks picture {identity}, which images.txt lists; extract it again")
            if not table[identity].isdecimal() or int(table[identity]) not in allowed:
                raise DataError(
                    f"{root / name}: picture {identity} has {table[identity]!r}, out of range; it must be "
                    f"{allowed[0]} to {allowed[-1]}"
                )
        birds.append(Bird(identity, image, int(labels[identity]) - 1, trained[identity] == "1"))
    return birds


def class_names(root: Path) -> tuple[str, ...]:
    """Return the names ``001.Black_footed_Albatross`` of all classes in order.

    Raises:
        DataError: if ``classes.txt`` is damaged.
    """
    classes = _table(root / "classes.txt")
    if list(classes) != [str(number) for number in range(1, len(classes) + 1)]:
        raise DataError(f"{root / 'classes.txt'} does not number its classes 1 to {len(classes)}; extract it again")
    return tuple(classes.values())


def _table(path: Path) -> dict[str, str]:
    """Read lines ``number value`` of a table; what follows a second blank belongs to the value."""
    if not path.is_file():
        raise DataError(f"{path} is missing although images.txt is there; extract the archive again")
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not key.isdecimal() or not value.strip():
            raise DataError(f"{path}, line {number}: {line!r} is not 'number value'")
        table[key] = value.strip()
    return table
