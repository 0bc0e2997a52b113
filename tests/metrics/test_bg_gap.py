"""The gap between two variants, counted apart."""

from __future__ import annotations

import pytest
import torch

from maskexp.metrics import BGGap

LABEL = torch.tensor([0, 1, 2, 3])
SAME = torch.zeros(4, dtype=torch.bool)


def test_variants_of_different_size() -> None:
    metric = BGGap()
    metric.update(LABEL, LABEL, SAME)
    metric.update(torch.tensor([0, 0]), LABEL[:2], ~SAME[:2])
    assert {name: value.item() for name, value in metric.compute().items()} == {
        "bg_gap": 0.5,
        "acc_mixed_same": 1.0,
        "acc_mixed_rand": 0.5,
        "n_mixed_same": 4,
        "n_mixed_rand": 2,
    }


def test_a_variant_without_images_leaves_no_gap() -> None:
    metric = BGGap()
    metric.update(LABEL, LABEL, SAME)
    result = metric.compute()
    assert result["acc_mixed_same"] == 1
    assert result["bg_gap"].isnan()


@pytest.mark.parametrize(
    "inputs", [(LABEL, LABEL, SAME[:3]), (LABEL[:3], LABEL, SAME), (LABEL, LABEL, SAME.long()), (LABEL[0], LABEL, SAME)]
)
def test_bad_inputs_are_refused(inputs: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ValueError, match="bool foreign have to be of one length"):
        BGGap().update(*inputs)
