"""CAD's objective (Hesse et al., CVPRW 2023) and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.masking import binarize
from maskexp.methods import CAD
from maskexp.models import CADNetwork
from maskexp.types import Batch, Prediction
from tests.defaults import network_defaults

SMALL = {"backbone": "test_resnet", "weights": None}
LABEL = torch.tensor([0, 1])


def objective(method: CAD, prediction: Prediction) -> dict[str, float]:
    batch: Batch = {"label": LABEL}  # type: ignore[typeddict-item]
    return {name: term.item() for name, term in method.objective(prediction, batch).items()}


def half_low() -> Prediction:
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]]).expand(2, -1, -1, -1)
    logits = torch.tensor([0.0, 50.0]).view(1, 2, 1, 1).expand(2, -1, 2, 2)
    return Prediction(torch.randn(2, 2), masks=(mask,), extras={"mask_logits": logits})


def test_area_loss_is_of_the_share_at_low_resolution() -> None:
    terms = objective(CAD(low_res_active=0.3, area_weight=2.0, **SMALL), half_low())
    assert terms["loss_area"] == pytest.approx(2 * 0.04)
    assert set(objective(CAD(area_weight=0, **SMALL), half_low())) == {"loss_cls"}


def test_cross_entropy_is_of_the_logits() -> None:
    prediction = half_low()
    assert objective(CAD(**SMALL), prediction)["loss_cls"] == pytest.approx(
        F.cross_entropy(prediction.logits, LABEL).item()
    )


def test_a_resampled_area_is_of_the_logits_and_not_of_the_mask() -> None:
    method = CAD(low_res_active=0.3, resample_area=True, **SMALL)
    method.network = CADNetwork(
        "test_resnet", 2, weights=None, image_size=(64, 64), **network_defaults(CAD, CADNetwork)
    )
    assert objective(method, half_low())["loss_area"] == pytest.approx(0.7**2)  # logits that are always low


def test_two_logits_and_one_give_the_same_share() -> None:
    torch.manual_seed(0)
    two = torch.tensor([0.4, 1.1]).view(1, 2, 1, 1).expand(1, 2, 300, 300)
    for logits in (two, two[:, 1:] - two[:, :1]):
        assert binarize(logits).mean().item() == pytest.approx(torch.sigmoid(torch.tensor(0.7)).item(), abs=0.006)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low_res_active": 1.2}, r"low_res_active is 1.2; .* must lie in \[0, 1\]"),
        ({"low_res_active": -0.2}, r"low_res_active is -0.2; .* must lie in \[0, 1\]"),
        ({"low_res_active": float("nan")}, "low_res_active is nan; it must be a finite number"),
        ({"area_weight": -1.0}, "area_weight is -1.0; it must be at least 0"),
        ({"area_weight": float("nan")}, "area_weight is nan; it must be a finite number"),
        ({"area_weight": float("inf")}, "area_weight is inf; it must be a finite number"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAD(**SMALL, **options)


def test_the_mask_reaches_the_log(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.fit(CAD(**SMALL), birds)
    assert {"train/loss_area", "val/acc_worst_group", "val/epg", "val/mask_area"} <= set(run.callback_metrics)
