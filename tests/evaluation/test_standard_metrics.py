"""The metrics of a split from the contracts alone."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from maskexp.evaluation import ExplainableClassifier, StandardMetrics
from maskexp.models.network import Network
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


class Plain(Network):
    """A network that is asked for nothing but what it is."""

    def forward(self, images: torch.Tensor) -> Prediction:
        return Prediction(logits=images.mean(dim=(2, 3)))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def backbone_parameters(self) -> list[torch.nn.Parameter]:
        return []


def standard(spec: DataSpec = SPEC, masked_stages: int = 0, reported: tuple[str, ...] = ()) -> StandardMetrics:
    network = Plain()
    network.masked_stages, network.reported = masked_stages, reported
    evaluation = StandardMetrics()
    evaluation.prepare(spec, network)
    return evaluation


def count(evaluation: StandardMetrics, prediction: Prediction) -> None:
    evaluation.update(cast(ExplainableClassifier, None), batch(), prediction)


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
    evaluation = standard(masked_stages=1)
    count(evaluation, prediction)
    values = {name: value.item() for name, value in evaluation.compute().items()}
    assert values["acc"] == 0.5
    assert values["epg"] == 1.0
    assert values["pxap"] == 1.0
    assert 0.5 < values["epg_grad_cam"] < 1.0
    assert values["epg_baseline"] == 0.25
    assert list(values).index("epg_baseline") == list(values).index("epg") + 1
    assert values["mask_area"] == values["mask_area_stage_1"] == 0.25
    evaluation.reset()
    count(evaluation, prediction)
    assert evaluation.compute()["acc"].item() == pytest.approx(0.5)


def test_metrics_that_agree_after_the_first_batch_stay_apart() -> None:
    """As they would not in a MetricCollection, whose compute groups merge what coincides in the first batch."""
    inside, outside = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    inside[..., 0, 0], outside[..., 3, 3] = 1, 1
    evaluation = standard()
    for cam in (inside, outside):
        count(evaluation, Prediction(torch.zeros(2, 2), inside, extras={"grad_cam": cam}))
    values = evaluation.compute()
    assert (values["epg"], values["epg_grad_cam"]) == (1.0, 0.5)
    assert values["pxap"] > values["pxap_grad_cam"]


def test_without_foreground_nothing_is_localised() -> None:
    plain = DataSpec.from_dict(SPEC.to_dict() | {"foreground": "none"})
    evaluation = standard(plain)
    count(evaluation, Prediction(torch.zeros(2, 2)))
    assert not any(name.startswith(("epg", "pxap", "mask")) for name in evaluation.compute())


def test_what_a_network_reports_is_averaged_over_images_not_batches() -> None:
    evaluation = standard(reported=("macs",))
    for macs in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])):
        count(
            evaluation,
            Prediction(
                torch.zeros(2, 2), torch.zeros(2, 1, 2, 2), extras={"grad_cam": torch.zeros(2, 1, 2, 2), "macs": macs}
            ),
        )
    assert evaluation.compute()["macs"].item() == 3.0
