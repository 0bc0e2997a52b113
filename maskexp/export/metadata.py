"""What an exported model says about itself, as texts under keys: classes, preprocessing, and where it comes from.

Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Metadata", "Preprocessing"]

PREFIX = "maskexp."
Resize = Literal["square", "center_crop"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From an upright RGB image to what the network takes: bytes resized bilinearly with antialiasing, then / 255.

    Attributes:
        resize: ``square`` resizes both sides, ``center_crop`` keeps the aspect and cuts the longer side.
        crop_fraction: share of the resized side that is kept in the centre, in (0, 1].
        size: side in pixels of the square that results.
    """

    resize: Resize
    crop_fraction: float
    size: int

    def __post_init__(self) -> None:
        """Check the values, which may come from a file.

        Raises:
            ValueError: if one is impossible.
        """
        numbers = isinstance(self.size, int) and isinstance(self.crop_fraction, (int, float))
        if self.resize not in ("square", "center_crop") or not numbers or not 0 < self.crop_fraction <= 1 <= self.size:
            raise ValueError(
                f"preprocessing is resize {self.resize!r}, crop_fraction {self.crop_fraction!r}, size {self.size!r}; "
                "that is none"
            )


@dataclass(frozen=True, slots=True)
class Metadata:
    """What stands beside the weights of an exported model.

    Attributes:
        version: of maskexp that wrote it.
        method: name of the method, e.g. ``AIM``.
        backbone: timm's name, or ours.
        data: name and variant of the data it was trained on.
        class_names: one name per logit.
        preprocessing: None where the images of evaluation went through a transform that only torchvision can do.
        outputs: the meaning of each output by its name.
    """

    version: str
    method: str
    backbone: str
    data: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing | None
    outputs: Mapping[str, str]

    def to_texts(self) -> dict[str, str]:
        """Return texts by key, which ONNX files and torch's archives can hold."""
        how = self.preprocessing
        plain: dict[str, Any] = {
            "version": self.version,
            "method": self.method,
            "backbone": self.backbone,
            "data": self.data,
            "class_names": list(self.class_names),
            "preprocessing": how
            and {
                "resize": how.resize,
                "crop_fraction": how.crop_fraction,
                "size": how.size,
                "interpolation": "bilinear, antialiased",
                "values": "RGB / 255, float32; the network normalises inside",
            },
            "outputs": dict(self.outputs),
        }
        return {PREFIX + key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Metadata:
        """Rebuild it from :meth:`to_texts`'s result; other keys may stand beside.

        Raises:
            ValueError: if a key is missing, or holds something else.
        """
        try:
            version, method, backbone, data = (texts[PREFIX + key] for key in ("version", "method", "backbone", "data"))
            names, how, outputs = (
                json.loads(texts[PREFIX + key]) for key in ("class_names", "preprocessing", "outputs")
            )
            stored = how and Preprocessing(how["resize"], how["crop_fraction"], how["size"])
        except KeyError as error:
            raise ValueError(f"it has no {error.args[0]!r}, which maskexp export writes") from error
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError("its metadata are damaged") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its class names are damaged")
        if not isinstance(outputs, dict):
            raise ValueError("its names of outputs are damaged")
        return cls(version, method, backbone, data, tuple(names), stored or None, outputs)
