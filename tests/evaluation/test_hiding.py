"""What can be known of an evaluation before a training is said before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maskexp.evaluation import Audit, Evaluation, Linearity, Localization, Missingness
from maskexp.evaluation.hiding import require_passage
from maskexp.masking.inputs import create_input_maskings
from maskexp.models.classifier import Classifier


def test_a_way_of_hiding_that_the_network_does_not_let_pass_is_refused_before_the_training() -> None:
    network = Classifier("test_vit", 3, None, (160, 160))
    network.train()
    (frozen := network.get_submodule("network.blocks")).eval()
    with pytest.raises(ValueError, match=r"Missingness cannot hide by 'layer'.*token_dropping in a vision"):
        require_passage("Missingness", network, create_input_maskings(["grey", "layer"]), (160, 160))
    assert network.training
    assert not frozen.training, "the network is left as it was found"
    require_passage("Missingness", network, create_input_maskings(["grey", "token_dropping"]), (160, 160))


@pytest.mark.parametrize(
    "make",
    [lambda: Missingness(seed=-1), lambda: Localization(seed=-1), lambda: Audit(seed=-1), lambda: Linearity(seed=-1)],
)
def test_a_negative_seed_is_refused_when_it_is_given(make: Callable[[], Evaluation]) -> None:
    with pytest.raises(ValueError, match="seed is -1; it must be at least 0"):
        make()
