"""NICO++ (Zhang et al., CVPR 2023): from the folders of its domain-generalisation track to a manifest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.hold_out import hold_out
from maskexp.data.manifest.layout import Layout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row
from maskexp.data.text_files import text_of

__all__ = ["NICOPlusPlusLayout", "Protocol"]

Protocol = Literal["subpop", "comet_like", "autumn_rock", "dim_grass", "outdoor_water"]
PROTOCOLS = ("subpop", "comet_like", "autumn_rock", "dim_grass", "outdoor_water")
CONTEXTS = ("autumn", "dim", "grass", "outdoor", "rock", "water")
EVALUATED = 75
"""Images of a group that ``subpop`` takes for validation (a third) and test (two thirds), if there are so many."""
COMET_TRAINING, COMET_EVALUATED = 11313, 74
"""Training images in all, and images per class in validation and in test, of COMET's unpublished draw."""
KNOWN_COUNTS = {
    "subpop": {"train": (62657,), "val": (8726,), "test": (17483,)},
    "comet_like": {"train": (11313,), "val": (4440,), "test": (4440,)},
}


@dataclass(frozen=True, slots=True)
class NICOPlusPlusLayout(Layout):
    """60 classes in the contexts autumn, dim, grass, outdoor, rock and water; groups are class × context.

    Protocols:

    - ``subpop``: SubpopBench's rule and sizes. Its own draw depends on the order of a directory listing, so that ours
      is another one, the same on every machine.
    - ``comet_like``: a draw of COMET's sizes, balanced over contexts. COMET's own was never published.
    - ``autumn_rock``, ``dim_grass``, ``outdoor_water``: the official test pairs of contexts; the other four train.

    There is no foreground.

    Attributes:
        root: folder with ``public_dg_0416`` and ``dg_label_id_mapping.json``.
        protocol: see :class:`~maskexp.data.NICOPlusPlus`.
        val_fraction: share of the training images held out by the official protocols.
        split_seed: of the random split.
    """

    protocol: Protocol
    val_fraction: float
    split_seed: int

    name: ClassVar[str] = "nicopp"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="NICOPlusPlus",
        title="NICO++",
        summary="60 classes in six contexts; sizes of SubpopBench or COMET, or the official test pairs of contexts",
        paper="Zhang et al., CVPR 2023",
        images="62657 / 8726 / 17483 (subpop)",
        size="–",
        automatic="manual",
        command="maskexp data prepare NICOPlusPlus data/nicopp --raw track_1.zip",
        foreground="none",
        get=(
            "https://github.com/xxgege/NICO-plus (track_1.zip, and dg_label_id_mapping.json beside its "
            "folder); then --data.root"
        ),
        licence="non-commercial research",
    )
    needed: ClassVar[str] = "public_dg_0416/train"
    folders: ClassVar[tuple[str, ...]] = ("NICO++", "track_1", "nicopp")

    @classmethod
    def find(
        cls, root: str | Path, protocol: Protocol = "subpop", val_fraction: float = 0.1, split_seed: int = 0
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder with ``public_dg_0416`` and ``dg_label_id_mapping.json``, or the folder in which it lies.
            protocol: one of the above.
            val_fraction: share of the training images that the official protocols hold out (default: ours).
            split_seed: of the random split.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if there is no such protocol.
        """
        if protocol not in PROTOCOLS:
            raise DataError(f"protocol is {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
        return cls(cls.locate(root), protocol, val_fraction, split_seed)

    def source_paths(self) -> list[Path]:
        """Return the mapping and the folders of all contexts."""
        return [self._mapping(), *(self.root / self.needed / context for context in CONTEXTS)]

    def rows(self) -> list[Row]:
        """List all images and split them by the protocol.

        Raises:
            DataError: if the mapping is damaged or a class has no images.
        """
        rows = []
        for label, name in enumerate(self.classes):
            listed = [(c, path) for c, context in enumerate(CONTEXTS) for path in self._listed(context, name)]
            if not listed:
                raise DataError(f"{self.root / self.needed} has no images of {name!r} in any context; extract it again")
            images = [(c, path.relative_to(self.root / self.needed).as_posix()) for c, path in listed]
            rows += [Row(image, "train", label, f"{self.needed}/{image}", c, env=CONTEXTS[c]) for c, image in images]
        if self.protocol == "subpop":
            return _subpop(rows, self.split_seed)
        if self.protocol == "comet_like":
            return _comet_like(rows, self.split_seed)
        tested = self.protocol.split("_")
        return hold_out(
            [replace(row, split="test" if row.env in tested else "train") for row in rows],
            self.val_fraction,
            self.split_seed,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in the order of the official ids, which is not the alphabetical one."""
        path = self._mapping()
        if not path.is_file():
            raise DataError(f"{path} is missing; it says which class has which number, so put it there")
        try:
            mapping = json.loads(text_of(path))
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}") from error
        if not isinstance(mapping, dict) or sorted(mapping.values()) != list(range(len(mapping))):
            raise DataError(f"{path} does not number its classes from 0; get it again")
        return tuple(sorted(mapping, key=lambda name: int(mapping[name])))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The contexts."""
        return CONTEXTS

    @property
    def recipe(self) -> dict[str, Any]:
        """The protocol."""
        return {"protocol": self.protocol}

    def published_counts(self) -> Mapping[str, Counts] | None:
        """Return the sizes of the protocol, if they were published."""
        return {self.protocol: KNOWN_COUNTS[self.protocol]} if self.protocol in KNOWN_COUNTS else None

    def match_release(self, rows: Sequence[Row]) -> tuple[str, list[str]]:
        """Return the protocol, or ``custom`` where its sizes are published and others."""
        return Layout.match_release(self, rows) if self.protocol in KNOWN_COUNTS else (self.protocol, [])

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Say what is not COMET's."""
        if self.protocol != "comet_like":
            return ()
        return ("COMET's own draw was never published: sizes and balance of contexts are its, the images ours",)

    def _mapping(self) -> Path:
        return self.root / "dg_label_id_mapping.json"

    def _listed(self, context: str, name: str) -> Sequence[Path]:
        return image_files(self.root / self.needed / context / name)


def _shuffled(rows: Sequence[Row], seed: int) -> Mapping[tuple[int, int], list[Row]]:
    """Return the rows of each group (label, context), shuffled by the seed and the group alone."""
    groups: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.label, row.attribute].append(row)
    return {
        stratum: [members[i] for i in np.random.default_rng([seed, *stratum]).permutation(len(members))]
        for stratum, members in groups.items()
    }


def _subpop(rows: Sequence[Row], seed: int) -> list[Row]:
    """Split by SubpopBench's rule: of ``m = min(n, 75)`` of each group ``m // 3`` for validation, the rest for test."""
    split = []
    for members in _shuffled(rows, seed).values():
        evaluated = min(len(members), EVALUATED)
        for position, row in enumerate(members):
            name = "val" if position < evaluated // 3 else "test" if position < evaluated else "train"
            split.append(replace(row, split=name))
    return split


def _comet_like(rows: Sequence[Row], seed: int) -> list[Row]:
    """Take images of the contexts in turn: first for test, then for validation, then for training."""
    groups = _shuffled(rows, seed)
    labels = sorted({label for label, _ in groups})
    split = []
    for label in labels:
        of_class = [groups.get((label, attribute), []) for attribute in range(len(CONTEXTS))]
        turns = [row for row in chain.from_iterable(zip_longest(*of_class)) if row is not None]
        trained = COMET_TRAINING // len(labels) + (label < COMET_TRAINING % len(labels))
        names = ["test"] * COMET_EVALUATED + ["val"] * COMET_EVALUATED + ["train"] * trained
        split += [replace(row, split=name) for row, name in zip(turns, names, strict=False)]
    return split
