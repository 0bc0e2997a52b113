"""Where the parts of WaterBirds lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from maskexp.data.builders.prepared import names_with_times
from maskexp.data.builders.waterbirds_release import VERSION
from maskexp.data.errors import DataError, DatasetNotFoundError

__all__ = ["WaterBirdsSources"]

FOLDERS = ("waterbird_complete95_forest2water2", "waterbird_1.0_forest2water2", "waterbirds_v1.0")
GET_IT = (
    "curl -LO https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz && "
    "tar xf waterbird_complete95_forest2water2.tar.gz   (non-commercial research only)"
)
SET_BY = "--data.root"


@dataclass(frozen=True, slots=True)
class WaterBirdsSources:
    """Where the parts of WaterBirds lie.

    Attributes:
        root: folder with ``metadata.csv`` and the pictures.
        segmentations: folder ``<class>/<stem>.png``, or None.
        bounding_boxes: CUB's ``bounding_boxes.txt``, or None.
    """

    root: Path
    segmentations: Path | None = None
    bounding_boxes: Path | None = None

    @classmethod
    def find(
        cls,
        root: str | Path,
        cub_root: str | Path | None = None,
        segmentations: str | Path | None = None,
        bounding_boxes: str | Path | None = None,
    ) -> WaterBirdsSources:
        """Look the parts up.

        Args:
            root: the extracted folder of a release, or the folder in which it lies.
            cub_root: CUB-200-2011, whose ``segmentations`` (in it or beside it) and ``bounding_boxes.txt`` are taken.
            segmentations: folder of segmentations; goes before ``cub_root`` and before ``root/segmentations``.
            bounding_boxes: file of boxes; goes before ``cub_root``.

        Raises:
            DatasetNotFoundError: if the root, or something that was asked for, is missing.
            DataError: if ``root`` holds more than one release.
        """
        found = _release_folder(Path(root).expanduser())
        masks, boxes = _optional(segmentations, "segmentations"), _optional(bounding_boxes, "bounding_boxes")
        if cub_root is not None:
            cub = Path(cub_root).expanduser()
            places = [cub / "segmentations", cub.parent / "segmentations", cub / "bounding_boxes.txt"]
            masks = masks or next((place for place in places[:2] if place.is_dir()), None)
            boxes = boxes or next((place for place in places[2:] if place.is_file()), None)
            if masks is None and boxes is None:
                raise DatasetNotFoundError.explained(
                    "CUB's foreground",
                    " and ".join(map(str, places)),
                    "https://data.caltech.edu/records/w9d68-gec53 (segmentations.tgz)",
                    "--data.cub_root",
                )
        if masks is None and (found / "segmentations").is_dir():
            masks = found / "segmentations"
        return cls(found, masks, boxes)

    def fingerprint(self) -> dict[str, object]:
        """Return paths and state of the source files: another answer means that the manifest has to be built anew."""
        masks, boxes = self.segmentations, self.bounding_boxes
        return {
            "version": VERSION,
            "root": str(self.root.resolve()),
            "metadata": _sha256(self.root / "metadata.csv"),
            "folders": names_with_times(self.root),
            "segmentations": masks and [str(masks.resolve()), names_with_times(masks)],
            "bounding_boxes": boxes and _sha256(boxes),
        }


def _release_folder(root: Path) -> Path:
    """Return the folder with metadata.csv: ``root``, or the one known release in it."""
    if (root / "metadata.csv").is_file():
        return root
    inside = [root / name for name in FOLDERS if (root / name / "metadata.csv").is_file()]
    if len(inside) > 1:
        raise DataError(
            f"{root} holds several releases of WaterBirds; point root at one: {', '.join(map(str, inside))}"
        )
    if not inside:
        missing = root / "metadata.csv" if root.is_dir() else root
        raise DatasetNotFoundError.explained("WaterBirds", str(missing), GET_IT, SET_BY)
    return inside[0]


def _optional(path: str | Path | None, argument: str) -> Path | None:
    """Return a path that was asked for, if it was, and make sure that it exists."""
    if path is None:
        return None
    found = Path(path).expanduser()
    if not found.exists():
        raise DatasetNotFoundError.explained(
            f"WaterBirds' {argument}",
            str(found),
            "https://data.caltech.edu/records/65de6-vp158 (boxes), /w9d68-gec53 (segmentations)",
            f"--data.{argument}",
        )
    return found


def _sha256(path: Path) -> str:
    """Return the hash of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
