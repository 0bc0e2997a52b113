"""ImageNet-100: a hundred classes out of ImageNet, by a named list."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from maskexp.data.datasets.shared.imagenet import WordNetLayout
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import text_of
from maskexp.files import expanded

__all__ = ["LISTS", "ImageNet100Layout", "list_digest"]

CMC = """
    n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166 n01983481
    n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622 n02091831 n02093428
    n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047 n02113799 n02113978 n02114855
    n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212 n02326432 n02396427 n02483362 n02488291
    n02701002 n02788148 n02804414 n02859443 n02869837 n02877765 n02974003 n03017168 n03032252 n03062245 n03085013
    n03259280 n03379051 n03424325 n03492542 n03494278 n03530642 n03584829 n03594734 n03637318 n03642806 n03764736
    n03775546 n03777754 n03785016 n03787032 n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417
    n04067472 n04099969 n04111531 n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653
    n04485082 n04493381 n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406
    n13040303
"""
LISTS = {"cmc": tuple(CMC.split())}
"""Named lists of WordNet ids. ``cmc``: Tian et al., Contrastive Multiview Coding, which solo-learn uses as well."""
DIGESTS = {"cmc": "5ee5db69d488bb799a286d8e181801c3d02798776c1ce9203e5450f64e086e07"}
"""sha256 of each list, see :func:`list_digest`."""


@dataclass(frozen=True, slots=True)
class ImageNet100Layout(WordNetLayout):
    """A hundred classes of ImageNet by a named list.

    Several incompatible lists go by this name; ``notes`` say which one it is.

    The official validation images are ``test``. Labels are in the order of the sorted WordNet ids.

    Attributes:
        wnids: WordNet ids, sorted: the order of the labels.
    """

    wnids: tuple[str, ...]

    name: ClassVar[str] = "imagenet100"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="ImageNet100",
        title="ImageNet-100",
        summary="a hundred classes of ImageNet by a named list (cmc) or your own",
        paper="Tian et al., ECCV 2020",
        images="126689, a share held out / 5000",
        size="that of ImageNet",
        automatic="manual",
        command="maskexp fit --model AIM --data ImageNet100 --data.root data/imagenet",
        foreground="ILSVRC's boxes (boxes)",
        get="ImageNet after registration at https://image-net.org; then --data.root",
        licence="terms of ImageNet",
    )
    known_counts: ClassVar[Mapping[str, Counts]] = {"cmc": {"train": (126689,), "test": (5000,)}}

    @classmethod
    def find(
        cls,
        root: str | Path,
        class_list: str | Path = "cmc",
        boxes: str | Path | None = None,
        val_fraction: float = 0.1,
        val_seed: int = 0,
    ) -> Self:
        """Look the parts up.

        Args:
            root: ImageNet, ``{train,val}/<wnid>/``, or the hundred classes of it.
            class_list: ``cmc`` (Tian et al.; also solo-learn's), or a text file whose lines begin with a WordNet id.
            boxes: ILSVRC's boxes: a folder of XML files, Kaggle's ``LOC_val_solution.csv``, or ``localization.txt`` of
                clovaai/wsolevaluation. An image may have several.
            val_fraction: share of the training images that is held out (default: ours), as in CUB.
            val_seed: of that draw.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if there is no such list.
        """
        place = None if boxes is None else expanded(boxes)
        return cls(cls.locate(root), val_fraction, val_seed, place, _wnids(class_list))

    @property
    def named(self) -> Mapping[str, str]:
        """Each WordNet id is its own name."""
        return {wnid: wnid for wnid in self.wnids}

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the counts of a named list; none are known of a list of one's own."""
        return self.known_counts if self.wnids == LISTS["cmc"] else {}

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say which of the many lists this is."""
        digest = list_digest(self.wnids)
        name = next((name for name, known in DIGESTS.items() if known == digest), "a list of your own")
        return [
            *WordNetLayout.notes(self, rows),
            f"classes: {name}, {len(self.wnids)} WordNet ids, sha256 {digest}; "
            "several lists go by the name ImageNet-100",
        ]


def list_digest(wnids: Iterable[str]) -> str:
    """Return the sha256 of the sorted WordNet ids, one per line: the same for every order of a list."""
    return hashlib.sha256("".join(f"{wnid}\n" for wnid in sorted(wnids)).encode()).hexdigest()


def _wnids(class_list: str | Path) -> tuple[str, ...]:
    """Return the sorted WordNet ids of a named list or of a text file, whose lines begin with one."""
    if class_list in LISTS:
        return LISTS[str(class_list)]
    path = expanded(class_list)
    if not path.is_file():
        raise DataError(f"class_list {str(class_list)!r} is neither a file nor one of the lists {', '.join(LISTS)}")
    words = [line.split()[0] for line in text_of(path).splitlines() if line.strip()]
    wrong = [word for word in words if not re.fullmatch(r"n\d{8}", word)]
    if wrong or not words or len(set(words)) < len(words):
        reason = f"{wrong[0]!r} is no WordNet id" if wrong else "an id occurs twice" if words else "it is empty"
        raise DataError(f"{path} is no list of WordNet ids like n01440764, one per line: {reason}")
    return tuple(sorted(words))
