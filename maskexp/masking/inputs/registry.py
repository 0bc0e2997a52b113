"""Ways of hiding by name, for configurations and command lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from maskexp.masking.inputs.fills import Black, Blur, Colour, EdgeSmoothed, Grey, Mean, Noise
from maskexp.masking.inputs.interface import InputMasking
from maskexp.masking.inputs.layer_masking import LayerMasking, PartialConvolution
from maskexp.masking.inputs.token_dropping import TokenDropping

_BY_NAME: dict[str, Callable[[], InputMasking]] = {
    "black": Black,
    "grey": Grey,
    "mean": Mean,
    "edge_smoothed": EdgeSmoothed,
    "blur": Blur,
    "blur_rise": partial(Blur, reflected=True),
    "noise": Noise,
    "layer": LayerMasking,
    "partial_convolution": PartialConvolution,
    "token_dropping": TokenDropping,
}
INPUT_MASKING_NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that :func:`create_input_masking` knows, beside colours."""


def create_input_masking(name: str) -> InputMasking:
    """Return a way of hiding with its default settings.

    Args:
        name: one of :data:`INPUT_MASKING_NAMES`, or a colour as ``#rrggbb``.

    Raises:
        ValueError: if there is no such way of hiding.

    Example:
        >>> create_input_masking("#ff0000")
        Colour(colour=(1.0, 0.0, 0.0))
    """
    if not isinstance(name, str):
        raise ValueError(
            f"a way of hiding is named by a string, not {name!r}; YAML takes # for the beginning of a comment: give a "
            "colour in quotes, in a configuration file"
        )
    if name in _BY_NAME:
        return _BY_NAME[name]()
    if re.fullmatch(r"#[0-9a-fA-F]{6}", name):
        return Colour(tuple(int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    raise ValueError(
        f"there is no way of hiding called {name!r}; choose {', '.join(INPUT_MASKING_NAMES)}, or a colour such as "
        "#7f7f7f"
    )


def create_input_maskings(names: Sequence[str]) -> dict[str, InputMasking]:
    """Return several ways of hiding by name.

    Raises:
        ValueError: if there is none, or one is unknown.
    """
    if not names:
        raise ValueError("there is no way of hiding to judge by; name one, e.g. hiding: [grey]")
    return {name: create_input_masking(name) for name in names}
