"""PyTorch files that need not be trusted."""

from __future__ import annotations

import os
import pickle
from typing import Any

import torch


def load_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a dictionary of tensors and plain values on the CPU, without running code that the file may hold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, holds anything else, or is no PyTorch file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is not a PyTorch file that can be read safely") from error
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)} holds a {type(content).__name__}, not a dictionary of tensors")
    return content
