"""TravelingBirds (Koh et al., Concept Bottleneck Models, ICML 2020): from the released folder to a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.cub import TABLES, CUBBirdsLayout, CUBForeground, CUBLayout, class_names, read_birds
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo, Download
from maskexp.data.manifest.hold_out import VALIDATED_ON_TEST
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import text_of

__all__ = ["TravelingBirdsLayout"]

FOLDERS = {"train": "CUB_fixed/train", "test": "CUB_fixed/test", "random": "CUB_random", "black": "CUB_black"}
"""Folder of the images of each split. Each of them holds the images of *both* CUB splits."""
SHIFTED = (
    "validation images lie on the training backgrounds, test images on others: selecting a checkpoint by "
    "validation does not see the shift (as in Concept Bottleneck Models)"
)


@dataclass(frozen=True, slots=True)
class TravelingBirdsLayout(CUBBirdsLayout):
    """Each species of CUB on one kind of place; in ``test`` on the place of another species.

    Further splits show the test images on random places (``random``) and on black (``black``), if their folders are
    there; ``test_split`` chooses one of them. There are no groups: compare ``acc`` of the splits.

    Each released folder holds all images of CUB, so that an image folder made of ``CUB_fixed/train`` would train on
    the test birds; here CUB's own split decides.

    Attributes:
        root: folder with ``CUB_fixed``, and ``CUB_random`` and ``CUB_black`` if they are wanted.
        cub_root: CUB-200-2011, which says what the images are and which of them are for testing.
    """

    cub_root: Path

    name: ClassVar[str] = "travelingbirds"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="TravelingBirds",
        title="TravelingBirds",
        summary="CUB with one kind of place per species, exchanged in the test split; also random and black ones",
        paper="Koh et al., ICML 2020",
        images="5994, a share held out / 5794",
        size="none",
        automatic="generated",
        command=(
            "maskexp data make travelingbirds data/travelingbirds --cub_root data/cub/CUB_200_2011 --places data/places"
        ),
        foreground="CUB's masks or boxes (cub_root)",
        get=(
            "CodaLab bundle 0x518829de2aa440c79cd9d75ef6669f27 (down in 2026); then --data.root and "
            "--data.cub_root. Or generate it, after maskexp data prepare CUB data/cub and maskexp data "
            "prepare Places365Val data/places"
        ),
        licence="non-commercial research (CUB-200-2011, Places)",
        downloads={
            "Places365Val": (
                Download(
                    "val_large.tar",
                    "http://data.csail.mit.edu/places/places365/val_large.tar",
                    "9b71c4993ad89d2d8bcbdc4aef38042f",
                    "val_large",
                ),
                Download(
                    "filelist_places365-standard.tar",
                    "http://data.csail.mit.edu/places/places365/filelist_places365-standard.tar",
                    "35a0585fee1fa656440f3ab298f8479c",
                    "places365_val.txt",
                ),
            )
        },
    )
    needed: ClassVar[str] = "CUB_fixed"
    folders: ClassVar[tuple[str, ...]] = ("TravelingBirds", "AdversarialData")
    listing: ClassVar[str] = "CUB's images.txt"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = {"official": ("train", "test")}

    @classmethod
    def find(
        cls,
        root: str | Path,
        cub_root: str | Path | None = None,
        segmentations: str | Path | None = None,
        val_fraction: float = 0.2,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder with ``CUB_fixed``, or the folder in which it lies.
            cub_root: CUB-200-2011, for labels, split, segmentations and boxes.
            segmentations: folder ``<class>/<stem>.png``, if not in ``cub_root`` or beside it.
            val_fraction: share of the training images that is held out, as in CUB.
            val_seed: of that draw.

        Raises:
            DatasetNotFoundError: if something is missing.
            DataError: if ``cub_root`` was not given.
        """
        found = cls.locate(root)
        if cub_root is None:
            raise DataError(
                "TravelingBirds needs --data.cub_root: CUB-200-2011 says which images are for testing; each folder "
                "of TravelingBirds holds all of them"
            )
        cub = CUBLayout.locate(cub_root)
        return cls(found, val_fraction, val_seed, CUBForeground.find(cls.info.title, cub, segmentations), cub)

    def source_paths(self) -> list[Path]:
        """Return CUB's tables, the folders of the images and the foreground."""
        places = [self.root / f"CUB_fixed/{split}_places.json" for split in ("train", "test")]
        folders = [self.root / folder for folder in FOLDERS.values()]
        return [*(self.cub_root / name for name in TABLES), *places, *folders, *self.foreground.source_paths()]

    def rows(self) -> list[Row]:
        """Take the training images from the training backgrounds and the test images from all others.

        Raises:
            DataError: if CUB's tables are damaged.
        """
        birds = read_birds(self.cub_root)
        masks, boxes = self.foreground.masks(bird.image for bird in birds), self.foreground.boxes()
        splits = [split for split, folder in FOLDERS.items() if (self.root / folder).is_dir()]
        places = {split: _places(self.root / f"CUB_fixed/{split}_places.json") for split in ("train", "test")}
        rows = [
            Row(
                id=bird.id,
                split=split,
                label=bird.label,
                image=f"{FOLDERS[split]}/{bird.image}",
                mask=masks.get(bird.image, ""),
                box=boxes.get(bird.id),
                pair_id=bird.id,
                env=places.get(split, {}).get(bird.image.split("/")[0], ""),
            )
            for bird in birds
            for split in splits
            if bird.train == (split == "train")
        ]
        return self.held_out(rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """CUB's species."""
        return class_names(self.cub_root)

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say what validation does not see."""
        return (SHIFTED if self.val_fraction else VALIDATED_ON_TEST,)


def _places(path: Path) -> dict[str, str]:
    """Return the number of the place, as text, on which each species lies; empty where the file is missing."""
    if not path.is_file():
        return {}
    try:
        places = json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(places, dict):
        raise DataError(f"{path} does not say on which place each species lies; extract the archive again")
    return {species: f"place {place}" for species, place in places.items()}
