"""Spawrious (Lynch et al., 2023): from the official folder to a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from maskexp.data.datasets.shared.files import image_files
from maskexp.data.errors import DataError
from maskexp.data.info import DatasetInfo
from maskexp.data.manifest.hold_out import HeldOutLayout
from maskexp.data.manifest.releases import Counts
from maskexp.data.manifest.table import Row

__all__ = ["Challenge", "SpawriousLayout"]

Challenge = Literal["o2o_easy", "o2o_medium", "o2o_hard", "m2m_easy", "m2m_medium", "m2m_hard"]
BREEDS = ("bulldog", "corgi", "dachshund", "labrador")
"""In the order of the labels."""
LOCATIONS = ("desert", "jungle", "dirt", "mountain", "snow", "beach")
TABLE_ORDER = ("bulldog", "dachshund", "labrador", "corgi")
"""In the order of the released table of combinations, which is not that of the labels."""
COMBINATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "o2o_easy": (("desert", "jungle", "dirt", "snow"), ("dirt", "snow", "desert", "jungle"), "beach"),
    "o2o_medium": (("mountain", "beach", "dirt", "jungle"), ("jungle", "dirt", "beach", "snow"), "desert"),
    "o2o_hard": (("jungle", "mountain", "snow", "desert"), ("mountain", "snow", "desert", "jungle"), "beach"),
    "m2m_easy": (("desert", "mountain", "dirt", "jungle"), ("dirt", "jungle", "mountain", "desert"), ""),
    "m2m_medium": (("beach", "snow", "mountain", "desert"), ("desert", "mountain", "beach", "snow"), ""),
    "m2m_hard": (("dirt", "jungle", "snow", "beach"), ("snow", "beach", "dirt", "jungle"), ""),
}
"""Training locations, test locations (both in TABLE_ORDER) and the filler that all breeds share, of each challenge."""
SHARES = {"0": 0.97, "1": 0.87}
"""Share of a breed's own location in each of the two training environments of a one-to-one challenge."""
PARTNER = (1, 0, 3, 2)
"""In a many-to-many challenge each breed also appears on the location of this one."""


@dataclass(frozen=True, slots=True)
class SpawriousLayout(HeldOutLayout):
    """Four breeds of dogs on locations that change between training and test; groups are breed × location.

    One-to-one challenges (``o2o``) show 97 % and 87 % of a breed, in the two training environments, on one location;
    many-to-many ones (``m2m``) pairs of breeds on pairs of locations. Where the released code takes the first files of
    a directory listing, here it is the first in the order of their names. There is no official validation set.

    Attributes:
        root: folder ``spawrious224``.
        challenge: one of six.
    """

    challenge: Challenge

    name: ClassVar[str] = "spawrious"
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="Spawrious",
        title="Spawrious",
        summary=(
            "generated dogs of four breeds on six locations that change between training and test; six challenges"
        ),
        paper="Lynch et al., 2023",
        images="25344, a share held out / 25344 per challenge",
        size="–",
        automatic="manual",
        command="maskexp data prepare Spawrious data/spawrious --raw spawrious224__o2o_easy.tar.gz",
        foreground="none",
        get="https://github.com/aengusl/spawrious (tar files on Dropbox); then --data.root",
        licence="CC BY 4.0 (README) or CC0 (LICENSE)",
    )
    needed: ClassVar[str] = "0"
    folders: ClassVar[tuple[str, ...]] = ("spawrious224",)

    @classmethod
    def find(
        cls, root: str | Path, challenge: Challenge = "o2o_easy", val_fraction: float = 0.1, val_seed: int = 0
    ) -> Self:
        """Look the parts up.

        Args:
            root: folder ``spawrious224``, or the folder in which it lies.
            challenge: ``o2o_easy``, ``o2o_medium``, ``o2o_hard``, ``m2m_easy``, ``m2m_medium`` or ``m2m_hard``.
            val_fraction: share of the training images that is held out, of each group (default: one of the two shares
                in use, the other is 0.2).
            val_seed: of that draw.

        Raises:
            DatasetNotFoundError: if the root is missing.
            DataError: if there is no such challenge.
        """
        if challenge not in COMBINATIONS:
            raise DataError(f"challenge is {challenge!r}; it must be one of {', '.join(COMBINATIONS)}")
        return cls(cls.locate(root), val_fraction, val_seed, challenge)

    def source_paths(self) -> list[Path]:
        """Return the folders of all breeds."""
        return [self.root / env / location for env in SHARES for location in LOCATIONS]

    def rows(self) -> list[Row]:
        """List the images of the challenge, always the first of a folder in the order of their names.

        Raises:
            DataError: if a folder that the challenge needs has no images.
        """
        one_to_one = self.challenge.startswith("o2o")
        rows = list(self._one_to_one() if one_to_one else self._many_to_many())
        return self.held_out(rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The breeds."""
        return BREEDS

    @property
    def attributes(self) -> tuple[str, ...]:
        """The locations."""
        return LOCATIONS

    def published_counts(self) -> Mapping[str, Counts]:
        """Return the published size, which is that of each challenge."""
        return {self.challenge: {"train": (25344,), "test": (25344,)}}

    def _one_to_one(self) -> Iterator[Row]:
        """Yield each breed on its own location, with a few images of all breeds on the filler."""
        trained, tested, filler = COMBINATIONS[self.challenge]
        for env, share in SHARES.items():
            for breed, own, other in zip(TABLE_ORDER, trained, tested, strict=True):
                listed = self._listed(env, own, breed)
                first = int(share * len(listed))
                yield from self._rows("train", env, own, breed, listed[:first])
                yield from self._rows(
                    "train", env, filler, breed, self._listed(env, filler, breed)[: len(listed) - first]
                )
                yield from self._rows("test", env, other, breed, self._listed(env, other, breed))

    def _many_to_many(self) -> Iterator[Row]:
        """Yield each breed on two locations, from folder 0 alone as the released code does."""
        trained, tested, _ = COMBINATIONS[self.challenge]
        for split, locations in (("train", trained), ("test", tested)):
            for position, breed in enumerate(TABLE_ORDER):
                for location in (locations[position], locations[PARTNER[position]]):
                    yield from self._rows(split, "0", location, breed, self._listed("0", location, breed))

    def _listed(self, env: str, location: str, breed: str) -> list[Path]:
        folder = self.root / env / location / breed
        listed = image_files(folder)
        if not listed:
            raise DataError(f"{folder} has no images, but {self.challenge} needs them; get the challenge's own archive")
        return listed

    def _rows(self, split: str, env: str, location: str, breed: str, listed: list[Path]) -> Iterator[Row]:
        for path in listed:
            image = path.relative_to(self.root).as_posix()
            yield Row(image, split, BREEDS.index(breed), image, LOCATIONS.index(location), env=f"env {env}")
