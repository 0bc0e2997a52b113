"""Ways of hiding by name."""

from __future__ import annotations

import pytest
import torch

from maskexp.masking import inputs
from maskexp.masking.inputs import INPUT_MASKING_NAMES, Colour, Fill, InputMasking, create_input_masking


def test_every_way_of_hiding_has_a_name() -> None:
    public = {getattr(inputs, name) for name in inputs.__all__}
    classes = {c for c in public if isinstance(c, type) and issubclass(c, InputMasking)} - {InputMasking, Fill, Colour}
    assert {type(create_input_masking(name)) for name in INPUT_MASKING_NAMES} == classes


def test_a_colour_is_named_as_in_css() -> None:
    hiding = create_input_masking("#00fF80")
    seen = hiding(torch.nn.Identity(), torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    torch.testing.assert_close(seen.flatten(), torch.tensor([0.0, 1.0, 128 / 255]))


@pytest.mark.parametrize("name", ["", "gray", "#12345", "#gggggg"])
def test_an_unknown_name_is_refused_with_the_choice(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"no way of hiding called .*choose black, grey, .* or a colour such as #7f7f7f"
    ):
        create_input_masking(name)


def test_a_colour_that_yaml_took_for_a_comment_is_told_to_be_quoted() -> None:
    with pytest.raises(ValueError, match=r"named by a string, not None; .* a colour in quotes"):
        create_input_masking(None)  # type: ignore[arg-type]
