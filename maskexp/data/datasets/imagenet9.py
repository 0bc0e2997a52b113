"""ImageNet-9 (Xiao et al., ICLR 2021): from the backgrounds challenge and training images to a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np

from maskexp.data.datasets.shared.files import image_files, subfolders
from maskexp.data.datasets.shared.imagenet import read_ilsvrc_boxes
from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.hold_out import hold_out
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.files import expanded

__all__ = [
    "CLASSES",
    "COMET_CLASSES",
    "COMET_TO_OFFICIAL",
    "IMAGENET_ID",
    "WNIDS",
    "ImageNet9Layout",
    "ImageNet9Training",
    "LabelOrder",
    "TrainSet",
    "class_folders",
]

CLASSES: Final = (
    *("dog", "bird", "wheeled vehicle", "reptile", "carnivore", "insect", "musical instrument", "primate", "fish"),
)
"""Names in the official order: that of the folders ``00_dog`` to ``08_fish``."""
COMET_CLASSES: Final = (
    *("musical instrument", "dog", "fish", "bird", "carnivore", "wheeled vehicle", "primate", "insect", "reptile"),
)
"""Names in the order of COMET's released code, which took the order of a directory listing."""
COMET_TO_OFFICIAL: Final = tuple(CLASSES.index(name) for name in COMET_CLASSES)
"""Official label of each label of a COMET checkpoint."""
MADE_OF = {
    "dog": """
        n02085620 n02085782 n02085936 n02086079 n02086240 n02086646 n02086910 n02087046 n02087394 n02088094
        n02088238 n02088364 n02088466 n02088632 n02089078 n02089867 n02089973 n02090379 n02090622 n02090721
        n02091244 n02091467 n02091635 n02091831 n02092002 n02092339 n02093256 n02093428 n02093647 n02093754
        n02093859 n02093991 n02094114 n02094258 n02094433 n02095314 n02095570 n02095889 n02096051 n02096177
        n02096294 n02096437 n02096585 n02097047 n02097130 n02097209 n02097298 n02097474 n02097658 n02098105
        n02098286 n02098413 n02099267 n02099429 n02099601 n02099712 n02099849 n02100236 n02100583 n02100735
        n02100877 n02101006 n02101388 n02101556 n02102040 n02102177 n02102318 n02102480 n02102973 n02104029
        n02104365 n02105056 n02105162 n02105251 n02105412 n02105505 n02105641 n02105855 n02106030 n02106166
        n02106382 n02106550 n02106662 n02107142 n02107312 n02107574 n02107683 n02107908 n02108000 n02108089
        n02108422 n02108551 n02108915 n02109047 n02109525 n02109961 n02110063 n02110185 n02110341 n02110627
        n02110806 n02110958 n02111129 n02111277 n02111500 n02111889 n02112018 n02112137 n02112350 n02112706
        n02113023 n02113186 n02113624 n02113712 n02113799 n02113978
    """,
    "bird": """
        n01514668 n01514859 n01518878 n01530575 n01531178 n01532829 n01534433 n01537544 n01558993 n01560419
        n01580077 n01582220 n01592084 n01601694 n01608432 n01614925 n01616318 n01622779 n01817953 n01818515
        n01819313 n01820546 n01824575 n01828970 n01829413 n01833805 n01843065 n01843383 n01847000 n01855032
        n01855672 n01860187 n02002556 n02002724 n02006656 n02007558 n02009229 n02009912 n02011460 n02012849
        n02013706 n02017213 n02018207 n02018795 n02025239 n02027492 n02028035 n02033041 n02037110 n02051845
        n02056570 n02058221
    """,
    "wheeled vehicle": """
        n02701002 n02704792 n02797295 n02814533 n02835271 n02930766 n03100240 n03272562 n03345487 n03384352
        n03393912 n03417042 n03444034 n03478589 n03538406 n03594945 n03599486 n03670208 n03770679 n03777568
        n03785016 n03791053 n03792782 n03796401 n03868242 n03895866 n03930630 n03977966 n04037443 n04065272
        n04204347 n04252077 n04252225 n04285008 n04310018 n04335435 n04389033 n04461696 n04465501 n04467665
        n04482393 n04509417
    """,
    "reptile": """
        n01664065 n01665541 n01667114 n01667778 n01669191 n01675722 n01677366 n01682714 n01685808 n01687978
        n01688243 n01689811 n01692333 n01693334 n01694178 n01695060 n01697457 n01698640 n01704323 n01728572
        n01728920 n01729322 n01729977 n01734418 n01735189 n01737021 n01739381 n01740131 n01742172 n01744401
        n01748264 n01749939 n01751748 n01753488 n01755581 n01756291
    """,
    "carnivore": """
        n02114367 n02114548 n02114712 n02114855 n02115641 n02115913 n02116738 n02117135 n02119022 n02119789
        n02120079 n02120505 n02125311 n02127052 n02128385 n02128757 n02128925 n02129165 n02129604 n02130308
        n02132136 n02133161 n02134084 n02134418 n02137549 n02138441 n02441942 n02442845 n02443114 n02443484
        n02444819 n02445715 n02447366 n02509815 n02510455
    """,
    "insect": """
        n02165105 n02165456 n02167151 n02168699 n02169497 n02172182 n02174001 n02177972 n02190166 n02206856
        n02219486 n02226429 n02229544 n02231487 n02233338 n02236044 n02256656 n02259212 n02264363 n02268443
        n02268853 n02276258 n02277742 n02279972 n02280649 n02281406 n02281787
    """,
    "musical instrument": """
        n02672831 n02676566 n02787622 n02804610 n02992211 n03017168 n03110669 n03249569 n03272010 n03372029
        n03394916 n03447721 n03452741 n03494278 n03495258 n03720891 n03721384 n03838899 n03840681 n03854065
        n03884397 n04141076 n04311174 n04487394 n04515003 n04536866
    """,
    "primate": """
        n02480495 n02480855 n02481823 n02483362 n02483708 n02484975 n02486261 n02486410 n02487347 n02488291
        n02488702 n02489166 n02490219 n02492035 n02492660 n02493509 n02493793 n02494079 n02497673 n02500267
    """,
    "fish": """
        n01440764 n01443537 n01484850 n01491361 n01494475 n01496331 n01498041 n02514041 n02526121 n02536864
        n02606052 n02607072 n02640242 n02641379 n02643566 n02655020
    """,
}
WNIDS: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(listed.split()) for name, listed in MADE_OF.items()}
"""WordNet ids of ImageNet's classes that each class is made of, sorted."""


TrainSet = Literal["boxed", "l"]
IMAGENET_ID = re.compile(r"n\d{8}_\d+")
PER_CLASS = 5045
"""Training images of each class in the released archive."""
HELD_OUT = 0.1
"""Share of a new draw that is held out for validation, if nothing else is said (ours)."""


@dataclass(frozen=True, slots=True)
class ImageNet9Training:
    """Where the training images lie, and which of them are taken.

    Attributes:
        root: folder with ``train/<class>`` and possibly ``val/<class>``; of a new draw, ImageNet with ``train/<wnid>``.
        val_fraction: share that is held out; None for the archive's own ``val``.
        val_seed: of that draw.
        train_set: of a new draw, ``boxed`` or ``l``; None for the released archive.
        boxes: ILSVRC's boxes, which ``boxed`` needs.
        train_seed: of the new draw.
    """

    root: Path
    val_fraction: float | None
    val_seed: int
    train_set: TrainSet | None = None
    boxes: Path | None = None
    train_seed: int = 0

    @classmethod
    def archive(cls, root: Path, val_fraction: float | None, val_seed: int) -> Self:
        """Take the released training archive.

        Raises:
            DatasetNotFoundError: if it is not there.
            DataError: if there is nothing to validate on.
        """
        if not (root / "train").is_dir():
            raise DatasetNotFoundError.explained(
                "ImageNet-9's training images",
                str(root / "train"),
                "the archives of the backgrounds challenge were offline in 2026; COMET's README links to a copy, and "
                "--data.imagenet_root draws a new training set from ImageNet",
                "--data.train_root",
            )
        if val_fraction is None and not (root / "val").is_dir():
            raise DataError(f"{root} has no val folder; hold images out with --data.val_fraction 0.1")
        return cls(root, val_fraction, val_seed)

    @classmethod
    def drawn(
        cls,
        root: Path,
        train_set: TrainSet,
        boxes: Path | None,
        train_seed: int,
        val_fraction: float | None,
        val_seed: int,
    ) -> Self:
        """Draw a training set from ImageNet.

        Raises:
            DatasetNotFoundError: if ImageNet is not there.
            DataError: if there is no such training set, or boxes are needed and not given.
        """
        if train_set not in ("boxed", "l"):
            raise DataError(f"train_set is {train_set!r}; it must be 'boxed' or 'l'")
        if not (root / "train").is_dir():
            raise DatasetNotFoundError.explained(
                "ImageNet", str(root / "train"), "after registration at https://image-net.org", "--data.imagenet_root"
            )
        if train_set == "boxed" and boxes is None:
            raise DataError(
                "train_set 'boxed' takes images with exactly one box: say where ILSVRC's boxes lie with "
                "--data.boxes, or take all images with --data.train_set l"
            )
        held = HELD_OUT if val_fraction is None else val_fraction
        return cls(root, held, val_seed, train_set, boxes if train_set == "boxed" else None, train_seed)

    def source_paths(self) -> list[Path]:
        """Return the folders of all images, and the boxes."""
        boxes = [] if self.boxes is None else [self.boxes]
        return [self.root / "train", *boxes] if self.train_set else [self.root / "train", self.root / "val"]

    def rows(self, tested: Sequence[Row], classes: Sequence[str]) -> list[Row]:
        """Return the training and validation images.

        Args:
            tested: rows of the test variants.
            classes: names in the order of the labels.

        Raises:
            DataError: if a class has no images, or boxes are damaged.
        """
        if self.train_set:
            return self._held_out(self._draw(classes))
        leaked = {name for row in tested for name in IMAGENET_ID.findall(row.id)}
        kept = [row for row in self._archived(classes) if leaked.isdisjoint(IMAGENET_ID.findall(row.id))]
        return self._held_out(kept)

    def note(self, rows: Sequence[Row], classes: Sequence[str]) -> str:
        """Say how the training set differs from the released one."""
        counts = Counter(row.split for row in rows)
        taken = counts["train"] + counts["val"]
        if self.train_set:
            return (
                f"training set {self.train_set} drawn anew from ImageNet, {taken // len(classes)} images per class "
                f"with seed {self.train_seed}: the released draw cannot be recovered"
            )
        listed = sum(1 for _ in self._archived(classes))
        return f"{listed - taken} of {listed} images of the training archive are test images and were left out"

    def _held_out(self, rows: list[Row]) -> list[Row]:
        return rows if self.val_fraction is None else hold_out(rows, self.val_fraction, self.val_seed)

    def _archived(self, classes: Sequence[str]) -> Iterator[Row]:
        """Yield the images of the released archive, those of its ``val`` only if it validates."""
        for split in ("train", "val") if self.val_fraction is None else ("train",):
            yield from class_folders(self.root, split, classes)

    def _draw(self, classes: Sequence[str]) -> list[Row]:
        """Take as many images of each class as the smallest has, ``boxed`` no more than were released.

        They are drawn from the images in the order of their names. None of them is a test image: those come from
        ImageNet's validation set.
        """
        pools = {name: self._pool(name) for name in CLASSES}
        smallest = min(len(pool) for pool in pools.values())
        count = min(smallest, PER_CLASS) if self.train_set == "boxed" else smallest
        rows = []
        for number, (name, pool) in enumerate(pools.items()):
            order = np.random.default_rng([self.train_seed, number]).permutation(len(pool))[:count]
            label = classes.index(name)
            rows += [
                Row(pool[i].stem, "train", label, pool[i].relative_to(self.root).as_posix()) for i in sorted(order)
            ]
        return rows

    def _pool(self, name: str) -> list[Path]:
        """Return ImageNet's training images of one class, for ``boxed`` only those with exactly one box."""
        found = []
        for wnid in WNIDS[name]:
            listed = image_files(self.root / "train" / wnid)
            if not listed:
                raise DataError(
                    f"{self.root / 'train' / wnid} has no images; ImageNet-9 is made of 370 classes of ImageNet, and "
                    f"{wnid} belongs to {name}"
                )
            found += listed
        if self.boxes is None:
            return found
        annotated = read_ilsvrc_boxes(self.boxes, found)
        boxed = [path for path in found if path.stem in annotated and len(annotated[path.stem].boxes) == 1]
        if not boxed:
            raise DataError(f"{self.boxes} has no image of {name} with exactly one box; get the boxes of 'train'")
        return boxed


def class_folders(above: Path, split: str, classes: Sequence[str]) -> Iterator[Row]:
    """Yield one row per image in ``above/split/<class>``.

    Raises:
        DataError: if a folder is none of the nine classes.
    """
    for folder in subfolders(above / split):
        name = folder.name.partition("_")[2]
        if name not in classes:
            raise DataError(f"{folder} is none of ImageNet-9's classes (00_dog to 08_fish); extract it again")
        for path in image_files(folder):
            yield Row(path.stem, split, classes.index(name), path.relative_to(above).as_posix())


LabelOrder = Literal["official", "comet"]
VARIANTS = (*("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t"),)
MASKED = tuple(name for name in VARIANTS if not name.startswith("only_bg"))
"""Variants of the images that the masks belong to."""
KNOWN_COUNTS = {"official": dict.fromkeys(VARIANTS, (4050,))}


@dataclass(frozen=True, slots=True)
class ImageNet9Layout(Layout):
    """Nine coarse classes of ImageNet, tested with foreground and background kept, removed and exchanged.

    Splits ``original``, ``mixed_same``, ``mixed_rand``, ``mixed_next``, ``only_fg``, ``no_fg``, ``only_bg_b`` and
    ``only_bg_t``; ``test_split`` chooses one. BG-Gap is ``acc`` on ``mixed_same`` minus ``acc`` on ``mixed_rand``. The
    masks belong to all variants but ``only_bg_*``.

    The archive's own validation images are partly test images (1,712 of 4,185): every image of the training
    archive that is in the test variants, by its ImageNet name, is left out. Where the archive cannot be had, a training
    set is drawn anew from ImageNet's training images, none of which is a test image: ``boxed`` as the paper
    describes its own (exactly one annotated box, 5,045 images per class or as many as the smallest class has), ``l``
    without regard to boxes (IN-9L; that it is balanced is inferred).

    Attributes:
        root: folder ``bg_challenge`` with the eight test variants and ``fg_mask``.
        training: what is trained on, None where there is nothing.
        label_order: order of the classes.
    """

    training: ImageNet9Training | None
    label_order: LabelOrder

    name: ClassVar[str] = "imagenet9"
    defaults: ClassVar[Mapping[str, Any]] = {"test_split": "original"}
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="ImageNet9",
        title="ImageNet-9",
        summary="nine coarse classes of ImageNet and the eight test variants of the backgrounds challenge",
        paper="Xiao et al., ICLR 2021",
        images="45405 / 4185 less test images / 4050 per variant",
        size="–",
        automatic="manual",
        command="maskexp data prepare ImageNet9 data/imagenet9 --raw backgrounds_challenge_data.tar.gz",
        foreground="masks of the test variants",
        get=(
            "https://github.com/MadryLab/backgrounds_challenge/releases/download/data/"
            "backgrounds_challenge_data.tar.gz; "
            "training archives: offline in 2026, or a new draw from ImageNet (--data.imagenet_root, "
            "--data.boxes); then --data.root and --data.train_root"
        ),
        licence="terms of ImageNet",
    )
    needed: ClassVar[str] = "original/val"
    folders: ClassVar[tuple[str, ...]] = ("bg_challenge",)

    @classmethod
    def find(
        cls,
        root: str | Path,
        train_root: str | Path | None = None,
        imagenet_root: str | Path | None = None,
        train_set: TrainSet = "boxed",
        boxes: str | Path | None = None,
        train_seed: int = 0,
        val_fraction: float | None = None,
        val_seed: int = 0,
        label_order: LabelOrder = "official",
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder ``bg_challenge``, or the folder in which it lies.
            train_root: folder with ``train/<class>`` and possibly ``val/<class>``; not needed for testing.
            imagenet_root: ImageNet with ``train/<wnid>``, to draw a training set from, instead of ``train_root``.
            train_set: which one to draw, ``boxed`` or ``l``.
            boxes: ILSVRC's boxes for ``boxed``, as in ImageNet100.
            train_seed: of that draw.
            val_fraction: share of the training images that is held out for validation; if not given, the archive's
                own ``val`` without the test images, or a tenth of a new draw (ours).
            val_seed: of the images held out.
            label_order: ``official`` or, for checkpoints of COMET's released code, ``comet``.
            test_split: the variant that takes the part of ``test``.

        Raises:
            DatasetNotFoundError: if the root, or the training images that were asked for, are missing.
            DataError: if there is nothing to validate on, or no such label order.
        """
        found = cls.locate(root)
        if val_fraction == 0:
            raise DataError("val_fraction is 0; ImageNet-9 must be validated on training images, e.g. a share of 0.1")
        if label_order not in ("official", "comet"):
            raise DataError(f"label_order is {label_order!r}; it must be 'official' or 'comet'")
        if train_root is not None and imagenet_root is not None:
            raise DataError("both train_root and imagenet_root are given; train on the one or on a draw from the other")
        archive, imagenet, boxed = (
            None if path is None else expanded(path) for path in (train_root, imagenet_root, boxes)
        )
        training = None
        if archive is not None:
            training = ImageNet9Training.archive(archive, val_fraction, val_seed)
        elif imagenet is not None:
            training = ImageNet9Training.drawn(imagenet, train_set, boxed, train_seed, val_fraction, val_seed)
        return cls(found, training, label_order)

    @property
    def mask_root(self) -> Path | None:
        """Folder to which the masks' paths are relative."""
        return self.root if (self.root / "fg_mask").is_dir() else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the wanted order."""
        return COMET_CLASSES if self.label_order == "comet" else CLASSES

    def image_root(self, split: str) -> Path:
        """Return the folder of the training images for their splits, else that of the test variants."""
        return self.training.root if self.training is not None and split in ("train", "val") else self.root

    def source_paths(self) -> list[Path]:
        """Return the folders of all classes."""
        tested = [self.root / f"{name}/val" for name in (*VARIANTS, "fg_mask")]
        return tested if self.training is None else [*tested, *self.training.source_paths()]

    def rows(self) -> list[Row]:
        """List the test variants, and training images that are in none of them.

        Raises:
            DataError: if a class folder has another name, or training images are missing.
        """
        tested = [row for variant in VARIANTS for row in self._variant(variant)]
        classes = {_foreground(row).split("_")[0]: self.classes[row.label] for row in tested}
        tested = [replace(row, env=_background(row, classes)) for row in tested]
        return tested if self.training is None else [*tested, *self.training.rows(tested, self.classes)]

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what the masks of the test variants are."""
        return ("none", "") if self.mask_root is None else ("binary", "fg_mask")

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the sizes of the test variants."""
        return KNOWN_COUNTS

    def split_counts(self, rows: Sequence[Row]) -> Counts:
        """Return the images of each test variant that is there."""
        counts = Counter(row.split for row in rows)
        return {variant: (counts[variant],) for variant in VARIANTS if counts[variant]}

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say what is trained on, and whose order the labels have."""
        notes = [] if self.training is None else [self.training.note(rows, self.classes)]
        if self.label_order == "comet":
            notes.append("labels are in the order of COMET's released code, not the official one")
        return notes

    def _variant(self, variant: str) -> Iterator[Row]:
        """Yield the images of one test variant, with the masks of their foreground."""
        masks = {path.name for path in self.root.glob("fg_mask/val/*/*.npy")} if variant in MASKED else set()
        for row in class_folders(self.root / variant, "val", self.classes):
            image = Path(row.image)
            mask = f"{_foreground(row)}.npy"
            yield replace(
                row,
                split=variant,
                image=f"{variant}/{row.image}",
                mask=f"fg_mask/val/{image.parent.name}/{mask}" if mask in masks else "",
                pair_id=_foreground(row),
            )


def _foreground(row: Row) -> str:
    """Return ImageNet's name of the image that the foreground is from; the whole id where it has another form."""
    names = IMAGENET_ID.findall(row.id)
    return names[0] if names else row.id


def _background(row: Row, classes: Mapping[str, str]) -> str:
    """Return the class of the background of a mixed image; empty for others, and where the class is not known.

    Args:
        row: of any variant.
        classes: class of each WordNet id that is somewhere in the foreground.
    """
    names = IMAGENET_ID.findall(row.id)
    return classes.get(names[1].split("_")[0], "") if len(names) > 1 else ""
