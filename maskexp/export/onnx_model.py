"""An exported ONNX model that explains image files with onnxruntime and Pillow; torch is never imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskexp.data.loading.image_files import decode_array
from maskexp.export.explanation import Explanation, NamedMap
from maskexp.export.metadata import Metadata, Preprocessing

try:
    import onnxruntime
except ImportError:  # an extra; the sentence follows when a model is opened
    onnxruntime = None

__all__ = ["OnnxModel", "create_session", "preprocess"]

OWN = "own"
"""Name of the method's own map, as :mod:`maskexp.types` has it, which needs torch."""


class OnnxModel:
    """A model that ``maskexp export`` wrote.

    Args:
        path: of the file.
        threads: of onnxruntime; one for each core if 0.

    Attributes:
        metadata: what the file says about itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if onnxruntime is not installed.
        ValueError: if the file is no ONNX model, or none of ours.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no exported model {os.fspath(path)!r}")
        self.path = os.fspath(path)
        self.session = create_session(self.path, threads)
        try:
            self.metadata = Metadata.from_texts(self.session.get_modelmeta().custom_metadata_map)
        except ValueError as error:
            raise ValueError(f"{self.path} is not a model that maskexp export wrote: {error}") from error
        self.input_name: str = self.session.get_inputs()[0].name
        self.output_names: list[str] = [output.name for output in self.session.get_outputs()]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per logit."""
        return self.metadata.class_names

    def choose(self, maps: Sequence[str]) -> None:
        """Refuse maps other than the method's own, which is all that a file carries.

        Raises:
            ValueError: if there is one.
        """
        if others := [name for name in maps if name != OWN]:
            raise ValueError(f"{self.path} carries the method's own map alone; explain the checkpoint by {others[0]}")

    def __call__(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for images ``(B, 3, H, W)`` float32 in [0, 1]."""
        return dict(zip(self.output_names, self.session.run(None, {self.input_name: images}), strict=True))

    def explain(self, path: Path) -> Explanation:
        """Return what the model says about an image file, resized and cropped as in evaluation.

        Raises:
            CorruptImageError: if the file is no image.
            ValueError: if images of evaluation went through a transform that needs torch, or a logit is not finite.
        """
        how = self.metadata.preprocessing
        if how is None:
            raise ValueError(
                f"the images of {self.path} were prepared by a transform of torchvision, which nothing but torch can "
                "do; explain the checkpoint instead"
            )
        image = preprocess(decode_array(path, "RGB"), how)
        outputs = self(np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255))
        if not np.isfinite(outputs["logits"]).all():
            raise ValueError(f"the logits of {path} are NaN or infinite, so that they decide nothing")
        found = outputs.get("attribution")
        maps = () if found is None else (NamedMap(OWN, "own attribution", found[0, 0]),)
        return Explanation(image, outputs["logits"][0], maps)


def create_session(model: str | bytes, threads: int = 0) -> Any:
    """Return onnxruntime's session on the CPU for a file, or for the bytes of one.

    Args:
        model: the file or the bytes.
        threads: of one operation; one for each core if 0.

    Raises:
        ImportError: if onnxruntime is not installed.
        ValueError: if it is no ONNX model.
    """
    if onnxruntime is None:
        raise ImportError("an exported model is run by onnxruntime, which is missing: pip install 'maskexp[export]'")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; its warnings are about its own optimisations
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        named = model if isinstance(model, str) else "what was exported"
        raise ValueError(f"{named} is not an ONNX model that onnxruntime can run; export it again") from error


def preprocess(pixels: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop an image as evaluation does, with Pillow.

    Torch resamples bytes by Pillow's algorithm with weights of fewer bits: on photographs, up to 3 % of the values
    differ by 1, and a few by 2.

    Args:
        pixels: ``(H, W, 3)``, upright.
        how: the preprocessing.

    Returns:
        uint8 ``(size, size, 3)``.
    """
    side = round(how.size / how.crop_fraction)
    height, width = pixels.shape[:2]
    if how.resize == "square":
        height = width = side
    elif height <= width:
        height, width = side, int(side * width / height)
    else:
        height, width = int(side * height / width), side
    if (height, width) != pixels.shape[:2]:
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    top, left = round((height - how.size) / 2), round((width - how.size) / 2)
    return pixels[top : top + how.size, left : left + how.size]
