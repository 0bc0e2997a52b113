"""The metrics of a split from the contracts alone."""

from __future__ import annotations

import pytest
import torch

from maskexp.methods.evaluation import Evaluation
from maskexp.types import Batch, DataSpec, Prediction

SPEC = DataSpec(
    "toy", "custom", ("a", "b"), ("x", "y"), ("a/x", "a/y", "b/x", "b/y"), (4, 4), (3, 1, 1, 3), "segmentation"
)


def batch() -> Batch:
    foreground = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    foreground[:, :, :2, :2] = True
    return {
        "image": torch.rand(2, 3, 4, 4),
        "label": torch.tensor([0, 1]),
        "attribute": torch.tensor([0, 1]),
        "group": torch.tensor([0, 3]),
        "foreground": foreground,
        "has_foreground": torch.tensor([True, True]),
        "index": torch.arange(2),
    }


def test_masks_are_judged_by_cell_and_grad_cam_smoothly() -> None:
    mask = torch.zeros(2, 1, 2, 2)
    mask[:, :, 0, 0] = 1
    prediction = Prediction(
        logits=torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
        attribution=mask,
        masks=(mask,),
        interpolation="nearest",
        extras={"grad_cam": mask},
    )
    evaluation = Evaluation(SPEC, masked_stages=1)
    evaluation.update(prediction, batch())
    values = {name: value.item() for name, value in evaluation.compute().items()}
    assert values["acc"] == 0.5
    assert values["epg"] == 1.0
    assert values["pxap"] == 1.0
    assert 0.5 < values["epg_grad_cam"] < 1.0
    assert values["epg_baseline"] == 0.25
    assert list(values).index("epg_baseline") == list(values).index("epg") + 1
    assert values["mask_area"] == values["mask_area_stage_1"] == 0.25
    evaluation.reset()
    evaluation.update(prediction, batch())
    assert evaluation.compute()["acc"].item() == pytest.approx(0.5)


def test_metrics_that_agree_after_the_first_batch_stay_apart() -> None:
    """As they would not in a MetricCollection, whose compute groups merge what coincides in the first batch."""
    inside, outside = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    inside[..., 0, 0], outside[..., 3, 3] = 1, 1
    evaluation = Evaluation(SPEC)
    for cam in (inside, outside):
        evaluation.update(Prediction(torch.zeros(2, 2), inside, extras={"grad_cam": cam}), batch())
    values = evaluation.compute()
    assert (values["epg"], values["epg_grad_cam"]) == (1.0, 0.5)
    assert values["pxap"] > values["pxap_grad_cam"]


def test_without_foreground_nothing_is_localised() -> None:
    plain = DataSpec.from_dict(SPEC.to_dict() | {"foreground": "none"})
    evaluation = Evaluation(plain)
    evaluation.update(Prediction(torch.zeros(2, 2)), batch())
    assert not any(name.startswith(("epg", "pxap", "mask")) for name in evaluation.compute())
