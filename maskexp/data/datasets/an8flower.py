"""an8Flower (Oramas et al., ICLR 2019): from the official folders to a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from PIL import Image

from maskexp.data.datasets.shared.files import converted_masks, image_files, subfolders
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.loading.image_files import decode_array, opened_image
from maskexp.data.manifest.hold_out import HeldOutLayout, stratified
from maskexp.data.manifest.prepared import in_parallel, names_with_times
from maskexp.data.manifest.table import Row
from maskexp.files import expanded

__all__ = ["An8FlowerLayout", "FlowerSet"]

FlowerSet = Literal["double_12c", "single_6c"]
NUM_CLASSES = {"double_12c": 12, "single_6c": 6}
OWN_SPLIT = "no official split is known: training, validation and test images are drawn by us"


@dataclass(frozen=True, slots=True)
class An8FlowerLayout(HeldOutLayout):
    """Rendered plants whose class is the colour of one part; the mask is that part, not the plant. No groups.

    ``double_12c`` has six colours of flower or stem, ``single_6c`` six colours of one part. No official split and no
    counts are known, so that the split is ours; COMET's (on ``double_12c``) was never published. Protocol: area under
    the IoU over the threshold of the map.

    Attributes:
        root: folder ``an8Flower_<set>`` with a folder of images per class.
        masks: folder of the binary masks, made of ``an8Flower_<set>_MASK``; None where that is not there.
        flower_set: which of the two sets.
        test_fraction: share of the images that is for testing.
        split_seed: of that draw.
    """

    masks: Path | None
    flower_set: FlowerSet
    test_fraction: float
    split_seed: int

    name: ClassVar[str] = "an8flower"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="An8Flower",
        title="an8Flower",
        summary="rendered plants told by the colour of one part (double_12c, single_6c); no groups",
        paper="Oramas et al., ICLR 2019",
        images="no official split",
        size="–",
        automatic="manual",
        command="maskexp data check An8Flower data/an8flower",
        foreground="masks of the part that decides",
        get=(
            "https://homes.esat.kuleuven.be/~joramas/projects/visualExplanationByInterpretation: extract "
            "the folders an8Flower_<set> and an8Flower_<set>_MASK beside each other; then --data.root"
        ),
        licence="none stated",
    )
    needed: ClassVar[str] = "an8Flower_double_12c"
    folders: ClassVar[tuple[str, ...]] = ("an8Flower", "an8flower")

    @classmethod
    def find(
        cls,
        root: str | Path,
        flower_set: FlowerSet = "double_12c",
        test_fraction: float = 0.2,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        val_seed: int = 0,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder with ``an8Flower_<set>`` and ``an8Flower_<set>_MASK``, or the first of the two.
            flower_set: ``double_12c`` or ``single_6c``.
            test_fraction: share of each class's images that is for testing (default: ours).
            val_fraction: share of the others that validates (default: released code of Macdonald et al., jmaces/rde).
            split_seed: of the draw for testing.
            val_seed: of the draw for validation.
            cache_dir: folder of converted masks; see :func:`~maskexp.data.manifest.prepared.cache_folder`.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if there is no such set, or a share is out of range.
        """
        if flower_set not in NUM_CLASSES:
            raise DataError(f"flower_set is {flower_set!r}; it must be one of {', '.join(NUM_CLASSES)}")
        if not 0 < test_fraction < 1:
            raise DataError(f"test_fraction is {test_fraction}; it must be in (0, 1)")
        above, name = expanded(root), f"an8Flower_{flower_set}"
        places = [above / name, *(above / folder / name for folder in cls.folders)]
        found = above if above.name == name else next((place for place in places if place.is_dir()), places[0])
        if not found.is_dir():
            raise DatasetNotFoundError.explained(cls.info.title, str(found), cls.info.way, "--data.root")
        coloured = found.with_name(f"{name}_MASK")
        masks = _binary_masks(coloured, cache_dir) if coloured.is_dir() else None
        return cls(found, val_fraction, val_seed, masks, flower_set, test_fraction, split_seed)

    @property
    def mask_root(self) -> Path | None:
        """Folder of the binary masks."""
        return self.masks

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the folders.

        Raises:
            DataError: if there are not as many as the name of the set says.
        """
        found = tuple(folder.name for folder in subfolders(self.root))
        if len(found) != NUM_CLASSES[self.flower_set]:
            raise DataError(
                f"{self.root} has {len(found)} folders of classes instead of {NUM_CLASSES[self.flower_set]}; extract "
                "the archive again"
            )
        return found

    def source_paths(self) -> list[Path]:
        """Return the folders of all classes."""
        return [self.root, *subfolders(self.root)]

    def rows(self) -> list[Row]:
        """List the images, with the masks of the same name, and split them at random by class.

        Raises:
            DataError: if a class has no images.
        """
        masks = {} if self.masks is None else _by_stem(self.masks)
        rows = []
        for label, name in enumerate(self.classes):
            listed = image_files(self.root / name)
            if not listed:
                raise DataError(f"{self.root / name} has no images; extract the archive again")
            for path in listed:
                identity = f"{name}/{path.stem}"
                rows.append(Row(identity, "train", label, f"{name}/{path.name}", mask=masks.get(identity, "")))
        tested = stratified(rows, self.test_fraction, self.split_seed)
        return self.held_out([replace(row, split="test") if row.id in tested else row for row in rows])

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return that the masks are binary, if there are any."""
        return ("binary", "an8flower") if any(row.mask for row in rows) else ("none", "")

    def match_release(self, rows: Sequence[Row]) -> tuple[str, list[str]]:
        """Return the set; no counts are published that could be compared."""
        return self.flower_set, []

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say the counts, and that the split is ours."""
        counts = Counter(row.split for row in rows)
        sizes = f"{counts['train']} training, {counts['val']} validation and {counts['test']} test images"
        without = sum(not row.mask for row in rows)
        missing = [f"{without} of {len(rows)} images have no mask"] if without else []
        return (sizes, OWN_SPLIT, *missing, *HeldOutLayout.notes(self, rows))


def _by_stem(folder: Path) -> Mapping[str, str]:
    """Return the path of each mask by ``<class>/<stem>``."""
    return {
        f"{inside.name}/{path.stem}": f"{inside.name}/{path.name}"
        for inside in subfolders(folder)
        for path in image_files(inside)
    }


def _binary_masks(coloured: Path, cache_dir: str | Path | None) -> Path:
    """Return the masks as grey levels: the official ones show the part that decides in its colour, on black."""

    def convert(folder: Path) -> None:
        def write(name: str) -> None:
            target = (folder / name).with_suffix(".png")
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(_binary(coloured / name)).save(target)

        in_parallel(write, sorted(_by_stem(coloured).values()))

    state = [coloured.stat().st_mtime_ns, names_with_times(coloured)]
    return converted_masks(cache_dir, "an8flower", {"masks": str(coloured.resolve()), "state": state}, convert)


def _binary(path: Path) -> np.ndarray:
    """Return 255 where any channel of a mask is above 0, uint8 ``(H, W)``; of a lossy file, above one half."""
    brightest = decode_array(path, "RGB").max(axis=2)
    with opened_image(path) as image:
        lossy = image.format == "JPEG"
    return np.where(brightest >= 128 if lossy else brightest > 0, 255, 0).astype(np.uint8)
