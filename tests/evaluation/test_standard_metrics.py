"""The metrics of a split from the contracts alone."""

from __future__ import annotations

import pytest
import torch

from maskexp.evaluation import StandardMetrics
from maskexp.types import DataSpec, Prediction
from tests.evaluation.doubles import ColourMeans, Explained, batch, named

SPEC = DataSpec(
    "toy", "custom", ("a", "b"), ("x", "y"), ("a/x", "a/y", "b/x", "b/y"), (4, 4), (3, 1, 1, 3), "segmentation"
)


def standard(data: DataSpec = SPEC, masked_stages: int = 0, reported: tuple[str, ...] = ()) -> StandardMetrics:
    network = ColourMeans()
    network.masked_stages, network.reported = masked_stages, reported
    evaluation = StandardMetrics()
    evaluation.prepare(data, network)
    return evaluation


def count(evaluation: StandardMetrics, prediction: Prediction) -> None:
    """Count a prediction for two images whose foreground is the upper left quarter."""
    pair = torch.tensor([0, 1])
    images = batch(torch.rand(2, 3, 4, 4), [0, 1], attribute=pair, group=torch.tensor([0, 3]))
    evaluation.update(Explained(ColourMeans()), images, prediction)


def test_masks_are_judged_by_cell_and_grad_cam_smoothly() -> None:
    mask = torch.zeros(2, 1, 2, 2)
    mask[:, :, 0, 0] = 1
    prediction = Prediction(
        logits=torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
        attributions={"own": mask, "grad_cam": mask},
        masks=(mask,),
        interpolation="nearest",
    )
    evaluation = standard(masked_stages=1)
    count(evaluation, prediction)
    values = named(evaluation.compute())
    assert values["acc"] == 0.5
    assert values["epg"] == 1.0
    assert values["pxap"] == 1.0
    assert 0.5 < values["epg_grad_cam"] < 1.0
    assert values["epg_baseline"] == 0.25
    assert list(values).index("epg_baseline") == list(values).index("epg") + 1
    assert values["mask_area"] == values["mask_area_stage_1"] == 0.25
    assert values["empty_masks"] == 0
    evaluation.reset()
    count(evaluation, prediction)
    assert named(evaluation.compute())["acc"] == pytest.approx(0.5)


def test_masks_that_show_nothing_are_counted() -> None:
    hard, soft = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    hard[0, 0, 1, 1], soft[0, 0, 0, 1] = 1, 0.51
    for mask in (hard, soft):
        evaluation = standard(masked_stages=1)
        for _ in range(2):
            count(evaluation, Prediction(torch.zeros(2, 2), {"own": mask, "grad_cam": mask}, (mask,), "nearest"))
        assert named(evaluation.compute())["empty_masks"] == 0.5


def test_metrics_that_agree_after_the_first_batch_stay_apart() -> None:
    """As they would not in a MetricCollection, whose compute groups merge what coincides in the first batch."""
    inside, outside = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    inside[..., 0, 0], outside[..., 3, 3] = 1, 1
    evaluation = standard()
    for cam in (inside, outside):
        count(evaluation, Prediction(torch.zeros(2, 2), {"own": inside, "grad_cam": cam}))
    values = named(evaluation.compute())
    assert (values["epg"], values["epg_grad_cam"]) == (1.0, 0.5)
    assert values["pxap"] > values["pxap_grad_cam"]


def test_without_foreground_nothing_is_localised() -> None:
    plain = DataSpec.from_dict(SPEC.to_dict() | {"foreground": "none"})
    evaluation = standard(plain)
    count(evaluation, Prediction(torch.zeros(2, 2)))
    assert not any(name.startswith(("epg", "pxap", "mask")) for name in named(evaluation.compute()))


def test_what_a_network_reports_is_averaged_over_images_not_batches() -> None:
    evaluation = standard(reported=("macs",))
    for macs in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])):
        count(
            evaluation,
            Prediction(
                torch.zeros(2, 2), dict.fromkeys(("own", "grad_cam"), torch.zeros(2, 1, 2, 2)), extras={"macs": macs}
            ),
        )
    assert named(evaluation.compute())["macs"] == 3.0


def test_images_without_a_foreground_pixel_are_counted() -> None:
    """EPG leaves them out, PxAP takes them for background: each says over how many images it is."""
    evaluation = standard()
    foreground = torch.zeros(4, 1, 4, 4, dtype=torch.bool)
    foreground[:2, :, :2, :2] = True  # that of the third has vanished, the fourth has none
    known = torch.tensor([True, True, True, False])
    images = batch(torch.rand(4, 3, 4, 4), [0, 1, 0, 1], foreground, has_foreground=known)
    maps = dict.fromkeys(("own", "grad_cam"), torch.ones(4, 1, 4, 4))
    evaluation.update(Explained(ColourMeans()), images, Prediction(torch.zeros(4, 2), maps))
    values = named(evaluation.compute())
    assert (values["n_epg"], values["n_pxap"], values["n_empty_foreground"]) == (2, 3, 1)
    assert values["epg"] == 0.25
