"""How the official download of a data set lies on disk, and how it becomes a manifest."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.info import DatasetInfo
from maskexp.data.loading.image_files import stored_size
from maskexp.data.manifest.prepared import Prepared, cache_folder, cached_table, in_parallel, names_with_times
from maskexp.data.manifest.releases import Counts, match_release
from maskexp.data.manifest.table import Card, ManifestTable, Row
from maskexp.files import expanded

__all__ = ["DataSource", "Layout"]


class DataSource(ABC):
    """Everything that is declared about one data set in files; needs no torch.

    The arguments of :meth:`find`, their defaults and their help stand in its signature and docstring, and nowhere else:
    datamodule, command line and documentation are derived from them.

    Attributes:
        info: the data set in words.
        defaults: defaults of the datamodule that differ for this data set, e.g. ``test_split``.
    """

    __slots__ = ()

    info: ClassVar[DatasetInfo]
    defaults: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    @abstractmethod
    def find(cls, *arguments: Any, **named: Any) -> Self:
        """Look the parts of the data up.

        Raises:
            DatasetNotFoundError: if something that was asked for is missing.
            DataError: if the arguments contradict each other.
        """

    @abstractmethod
    def prepare(self, cache_dir: str | Path | None = None) -> Prepared:
        """Return the manifest and the folders of the files, from the cache where it was built before.

        Raises:
            DataError: if the files are not as the layout demands.
        """

    @abstractmethod
    def prepare_unverified(self) -> Prepared:
        """Return the manifest without a look at images and masks, and without the cache."""


@dataclass(frozen=True, slots=True)
class Layout(DataSource):
    """Where the parts of one data set lie, and which of them are wanted.

    A subclass is a frozen dataclass whose fields are paths and plain values: together with the state of the files in
    :meth:`source_paths` they decide whether a manifest that was built before is still right.

    Attributes:
        root: folder of the images.
        name: data set, as it stands on the card.
        needed: file or folder that ``root`` has to hold.
        folders: names under which the official archives extract, where ``root`` is the folder above.
        version: counts up when the builder makes another manifest of the same files.
        listing: what says that an image exists, for the message about one that does not.
        inferred: by release, the splits whose counts were computed and not read in a publication.
        counted_as: what :meth:`split_counts` counts, for messages.
    """

    root: Path

    name: ClassVar[str]
    needed: ClassVar[str]
    folders: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    listing: ClassVar[str] = "its folder"
    inferred: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    counted_as: ClassVar[str] = "counts"

    @classmethod
    def locate(cls, root: str | Path) -> Path:
        """Return the folder that holds :attr:`needed`: ``root``, or the one known folder in it.

        Raises:
            DatasetNotFoundError: if there is none.
            DataError: if there are several.
        """
        above = expanded(root)
        if (above / cls.needed).exists():
            return above
        inside = [above / name for name in cls.folders if (above / name / cls.needed).exists()]
        if len(inside) > 1:
            raise DataError(
                f"{above} holds several releases of {cls.info.title}; point root at one: {', '.join(map(str, inside))}"
            )
        if not inside:
            missing = above / cls.needed if above.is_dir() else above
            raise DatasetNotFoundError.explained(cls.info.title, str(missing), cls.info.way, "--data.root")
        return inside[0]

    @property
    def mask_root(self) -> Path | None:
        """Folder of the masks, None where there are none."""
        return None

    def image_root(self, split: str) -> Path:
        """Return the folder to which the image paths of a split are relative."""
        return self.root

    @abstractmethod
    def source_paths(self) -> Sequence[Path]:
        """Return files and folders whose change makes a manifest outdated."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """Return all rows; width and height may be left open."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the values of the spurious factor; none where there is no such factor."""
        return ()

    @property
    def recipe(self) -> dict[str, Any]:
        """Wishes that the card says, because they decide what the data is."""
        return {}

    def foreground_of(self, rows: Sequence[Row]) -> tuple[str, str]:
        """Return what masks there are (``soft``, ``binary`` or ``none``), and where the foreground comes from."""
        return "none", ""

    def notes(self, rows: Sequence[Row]) -> Sequence[str]:
        """Return what every output has to say about these rows, besides how they differ from a release."""
        return ()

    def published_counts(self) -> Mapping[str, Counts] | None:
        """Return the counts of the published releases, None where none is published."""
        return None

    def release_from_name(self) -> str | None:
        """Return the release that the folder says it is, if its name does."""
        return None

    def split_counts(self, rows: Sequence[Row]) -> Counts:
        """Return the images of each split, as :meth:`published_counts` counts them."""
        counts = Counter(row.split for row in rows)
        return {split: (counts[split],) for split in ("train", "val", "test")}

    def match_release(self, rows: Sequence[Row]) -> tuple[str, list[str]]:
        """Return which release the rows are, and what has to be said if they are none."""
        known = self.published_counts()
        return (
            ("official", [])
            if known is None
            else match_release(self.info.title, self.split_counts(rows), known, self.counted_as)
        )

    def card(self, rows: list[Row]) -> Card:
        """Describe what the rows are."""
        variant, notes = self.match_release(rows)
        mask_kind, mask_source = self.foreground_of(rows)
        return Card(
            name=self.name,
            variant=variant,
            classes=self.classes,
            attributes=self.attributes,
            mask_kind=mask_kind,
            mask_source=mask_source,
            licence=self.info.licence,
            notes=(*notes, *self.notes(rows)),
            builder={"name": self.name, "version": self.version, **self.recipe},
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return paths, wishes and state of the files: another answer means that the manifest has to be built anew."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=lambda path: str(path.resolve())))
        states = [[str(path.resolve()), _state(path)] for path in self.source_paths()]
        return {"version": self.version, "fields": fields, "states": states}

    def build(self, verify: bool = True) -> ManifestTable:
        """Return the manifest.

        Args:
            verify: False leaves images and masks alone (their size may stay unknown), for those who look at them
                anyway.

        Raises:
            DataError: if the files are not as the layout demands.
        """
        rows = self.rows()
        if verify:
            rows = in_parallel(partial(_measured, self), rows)
        return ManifestTable(self.card(rows), rows)

    def prepare(self, cache_dir: str | Path | None = None) -> Prepared:
        """Return the manifest and the folders of the files, from the cache where it was built before."""
        return self._prepared(cached_table(cache_folder(cache_dir), self.name, self.fingerprint(), self.build))

    def prepare_unverified(self) -> Prepared:
        """Return the manifest without a look at images and masks, and without the cache."""
        return self._prepared(self.build(verify=False))

    def _prepared(self, table: ManifestTable) -> Prepared:
        roots = {split: self.image_root(split) for split in table.splits}
        elsewhere = {split: root for split, root in roots.items() if root != self.root}
        return Prepared(table, self.root, self.mask_root, elsewhere)


def _measured(layout: Layout, row: Row) -> Row:
    """Return the row with its image's size, and make sure that the mask has the same."""
    path = layout.image_root(row.split) / row.image
    try:
        size = stored_size(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing although {layout.listing} lists it; extract the archive again") from error
    if row.mask:
        mask = (layout.mask_root or layout.root) / row.mask
        of_mask = stored_size(mask)
        if of_mask != size:
            raise DataError(
                f"the mask {mask} has {of_mask[0]}x{of_mask[1]} pixels but its image {path} has {size[0]}x{size[1]}; "
                "they must have the same size"
            )
    return replace(row, width=size[0], height=size[1])


def _state(path: Path) -> Any:
    """Return the hash of a file; of a folder the time of its last change, and its sub-folders with theirs.

    None stands for what is not there: reading the rows tells whether it has to be.
    """
    if not path.exists():
        return None
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return [path.stat().st_mtime_ns, names_with_times(path)]
