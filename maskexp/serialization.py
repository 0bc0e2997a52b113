"""PyTorch files that need not be trusted."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DAMAGE = (
    *(pickle.UnpicklingError, EOFError, struct.error, ValueError, LookupError, ArithmeticError, TypeError),
    *(AttributeError, AssertionError, RuntimeError, MemoryError),
)
"""What torch raises on files that are damaged, or hold what must not be read."""


def load_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a dictionary of tensors and plain values on the CPU, without running code that the file may hold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, holds anything else, or is no PyTorch file.
    """
    if (file := Path(path)).exists() and not file.is_file() and not file.is_dir():  # reading a pipe may never end
        raise ValueError(f"{os.fspath(path)} is a device or a pipe; only a regular file can be read")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*DAMAGE, OSError) as error:  # a damaged file can send torch to places that no file has
        raise ValueError(f"{os.fspath(path)} is not a PyTorch file that can be read safely") from error
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)} holds no dictionary of tensors")
    return content


def require_weights(state: Any, named: str) -> dict[str, Tensor]:
    """Return a state dictionary after making sure that it is one, of finite numbers.

    Args:
        state: what should be names and tensors.
        named: what the message calls it.

    Raises:
        ValueError: if it is none, or holds a number that is not finite.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"{named} is damaged: it holds no weights by name")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{named} is damaged: what it holds under {name!r} is no tensor with a name")
        if tensor.layout != torch.strided or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ValueError(f"{named} is damaged: {name!r} has more numbers than the file holds")
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{named} holds weights that are no finite numbers, first in {name!r}: its training went wrong; train "
                "again with a smaller learning rate"
            )
    return dict(state)
