"""The example of the package's docstring runs and says the truth."""

from __future__ import annotations

import doctest

import maskexp.masking.inputs


def test_examples() -> None:
    result = doctest.testmod(maskexp.masking.inputs)
    assert result.attempted > 0
    assert result.failed == 0
