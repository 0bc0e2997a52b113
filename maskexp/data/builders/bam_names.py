"""What BAM's pictures show, by their names ``<object>-<scene>-<number>.jpg``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from maskexp.data.errors import DataError

__all__ = ["OBJECTS", "SCENES", "Shown"]

OBJECTS = ("backpack", "bird", "dog", "elephant", "kite", "pizza", "stop_sign", "toilet", "truck", "zebra")
SCENES = (
    *("bamboo_forest", "bedroom", "bowling_alley", "bus_interior", "cockpit", "corn_field", "laundromat", "runway"),
    *("ski_slope", "track"),
)
NAME = re.compile(r"([a-z_]+)-([a-z_]+)-(\d{4})\.jpg")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a picture shows.

    Attributes:
        object: name of the object that is pasted.
        scene: name of the scene.
        number: four digits.
    """

    object: str
    scene: str
    number: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the name of a picture.

        Raises:
            DataError: if it is no ``<object>-<scene>-<number>.jpg``.
        """
        found = NAME.fullmatch(path.name)
        if found is None or found[1] not in OBJECTS or found[2] not in SCENES:
            raise DataError(f"{path} is not called <object>-<scene>-<number>.jpg, so that nobody knows what it shows")
        return cls(*found.groups())

    def label(self, label_set: str) -> str:
        """Return the name of the class in one of the three sets."""
        return self.object if label_set == "obj" else self.scene

    def attribute(self, label_set: str) -> str:
        """Return the name of the spurious factor in ``obj`` or ``scene``."""
        return self.scene if label_set == "obj" else self.object
