"""Shared data types: :class:`Batch`, :class:`Prediction` and :class:`DataSpec`.

Datamodules yield batches, networks turn images into predictions, and metrics, gallery, tables and export know
nothing else. A new method or a new data set that keeps to these three contracts gets all of them for free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol, TypedDict, cast, get_args

import torch.nn.functional as F
from torch import Tensor

ForegroundKind = Literal["segmentation", "box", "none"]
LARGEST_SIDE = 1 << 14
"""Pixels of an image that reaches a network."""
_NAMES = ("class_names", "attribute_names", "group_names")
Interpolation = Literal["nearest", "bilinear"]
OWN = "own"
"""Name of the map by which a method itself explains its predictions."""

__all__ = [
    "Batch",
    "DataModule",
    "DataSpec",
    "ForegroundKind",
    "Interpolation",
    "Prediction",
    "attached_datamodule",
    "required_datamodule",
]


class Batch(TypedDict):
    """What every datamodule yields.

    Attributes:
        image: ``(B, 3, H, W)``, uint8 until it is on the device, then float in [0, 1].
        label: ``(B,)`` int64 class index; ``(B, K)`` float probabilities in a training that mixes images.
        attribute: ``(B,)`` int64 index of the spurious factor, -1 where there is none.
        group: ``(B,)`` int64 index of label × attribute, -1 where there is none.
        foreground: ``(B, 1, H, W)`` bool ground truth, all False where there is none.
        has_foreground: ``(B,)`` bool.
        index: ``(B,)`` int64 row of the sample in its split.
    """

    image: Tensor
    label: Tensor
    attribute: Tensor
    group: Tensor
    foreground: Tensor
    has_foreground: Tensor
    index: Tensor


@dataclass(slots=True)
class Prediction:
    """What every network returns.

    Attributes:
        logits: ``(B, K)`` class scores before the softmax.
        attributions: maps ``(B, 1, h, w)`` float in [0, 1] by name. ``own`` is what the method itself explains the
            prediction by: for a network with masks the mask that took part in it, for a plain classifier nothing until
            a map is computed after the fact (:func:`maskexp.attribution.add_attributions`). The others are named as
            they are registered in :mod:`maskexp.attribution`.
        masks: one ``(B, 1, h, w)`` mask per masked stage, in the order that the network's ``forward`` states.
        interpolation: how the own attribution and ``masks`` extend from their grid to pixels: ``nearest`` for the
            cells of a binary mask, ``bilinear`` for a smooth map. All other maps are smooth.
        features: ``(B, C, h, w)`` the last spatial map before pooling, from which Grad-CAM is computed.
        visible: ``(B, 1, H, W)`` bool, the pixels that the network was shown where the method hid the others in
            evaluation; None if it saw whole images.
        extras: whatever else the objective of the method needs.
    """

    logits: Tensor
    attributions: dict[str, Tensor] = field(default_factory=dict)
    masks: tuple[Tensor, ...] = ()
    interpolation: Interpolation = "bilinear"
    features: Tensor | None = None
    visible: Tensor | None = None
    extras: dict[str, Tensor | tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def attribution(self) -> Tensor | None:
        """The method's own attribution, ``attributions["own"]``, or None where there is none."""
        return self.attributions.get(OWN)

    def attribution_at(self, size: tuple[int, int], name: str = OWN) -> Tensor | None:
        """Return a map on a ``size`` pixel grid as ``(B, 1, H, W)`` float32, or None where there is none.

        Args:
            size: (height, width) in pixels.
            name: of the map.
        """
        found = self.attributions.get(name)
        return None if found is None else resize_map(found, size, self.interpolation if name == OWN else "bilinear")


def resize_map(values: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resize maps ``(B, 1, h, w)`` in [0, 1] to ``size`` as float32, by ``nearest`` cell or ``bilinear``, smoothly."""
    values = values.float()
    if values.shape[-2:] == size:
        return values
    if interpolation == "nearest":
        return F.interpolate(values, size=size, mode="nearest")
    # Weights that are rounded can sum to a little more than 1.
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a datamodule says about its data, saved in every checkpoint.

    Attributes:
        name: data set, e.g. ``waterbirds``.
        variant: release or recipe, e.g. ``complete95``, or ``custom`` for a folder of that layout with other counts.
        class_names: one name per label.
        attribute_names: one name per value of the spurious factor; empty where there is none.
        group_names: one name per group, in the order of ``label * len(attribute_names) + attribute``.
        image_size: (height, width) in pixels of the images that reach the network.
        train_group_counts: training samples per group; weights of the adjusted accuracy.
        foreground: what the foreground is: ``segmentation``, ``box`` or ``none``.
    """

    name: str
    variant: str
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    group_names: tuple[str, ...]
    image_size: tuple[int, int]
    train_group_counts: tuple[int, ...]
    foreground: ForegroundKind

    def __post_init__(self) -> None:
        """Check that groups, names and counts agree."""
        expected = len(self.class_names) * len(self.attribute_names)
        if len(self.group_names) != expected or len(self.train_group_counts) != expected:
            raise ValueError(
                f"{len(self.class_names)} classes and {len(self.attribute_names)} attributes make {expected} groups, "
                f"but {len(self.group_names)} group names and {len(self.train_group_counts)} training counts were given"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def num_groups(self) -> int:
        """Number of groups G; 0 where the data has no spurious attribute."""
        return len(self.group_names)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain lists, strings and integers, safe for any checkpoint or JSON file."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """Rebuild a specification from :meth:`to_dict`'s result.

        Raises:
            ValueError: if a field is missing or unknown.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(values, Mapping):
            raise ValueError("a DataSpec needs names and values")
        if set(values) != names:
            raise ValueError(
                f"a DataSpec needs the fields {sorted(names)}; missing {sorted(names - set(values))}, "
                f"unknown {sorted(set(values) - names)}"
            )
        for name, kind in (("image_size", int), ("train_group_counts", int), *((key, str) for key in _NAMES)):
            given = values[name]
            if not isinstance(given, (list, tuple)) or not all(isinstance(each, kind) for each in given):
                raise ValueError(f"the {name} of a DataSpec is no list of {kind.__name__}")
        if len(values["image_size"]) != 2 or not all(0 < side <= LARGEST_SIDE for side in values["image_size"]):
            raise ValueError(
                f"the image_size of a DataSpec is {values['image_size']}, not a height and a width in pixels"
            )
        if values["foreground"] not in get_args(ForegroundKind):
            raise ValueError(f"the foreground of a DataSpec is {values['foreground']!r}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


class DataModule(Protocol):
    """What methods, callbacks and records ask of a datamodule."""

    predict_split: str

    @property
    def spec(self) -> DataSpec:
        """What the data is."""
        ...

    @property
    def digest(self) -> str:
        """Hash of the manifest."""
        ...

    @property
    def notes(self) -> list[str]:
        """What every output made from this data has to say."""
        ...

    def dataset(self, split: str) -> Any:
        """Return one split."""
        ...

    def fetch(self, split: str, indices: Sequence[int]) -> Batch:
        """Return samples of a split as evaluation sees them."""
        ...


def attached_datamodule(trainer: object) -> DataModule | None:
    """Return the datamodule of a trainer, None where it was given loaders instead."""
    return cast(DataModule | None, getattr(trainer, "datamodule", None))


def required_datamodule(trainer: object, who: str) -> DataModule:
    """Return the datamodule of a trainer.

    Args:
        trainer: a Lightning trainer.
        who: what needs the datamodule, for the message.

    Raises:
        ValueError: if the trainer was given loaders instead.
    """
    data = attached_datamodule(trainer)
    if data is None:
        raise ValueError(f"{who} needs a datamodule, and the trainer was given loaders; give it datamodule=…")
    return data
