"""Every measure of localisation, for every row, against plain loops; and thresholds that the test does not choose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from maskexp.evaluation import LegacyCometLocalization, Localization
from maskexp.metrics import CONTROLS, control_attribution
from maskexp.metrics.functional import max_box_accuracy
from maskexp.types import Prediction
from tests.evaluation.doubles import ColourMeans, Explained, answers, count, named, noisy, spec
from tests.metrics.cases import (
    loop_epg,
    loop_iou_at,
    loop_iou_curve,
    loop_legacy_average_precision,
    loop_legacy_iou_auc,
    loop_pointing_game,
    loop_pxap,
    loop_pxap_image,
)

WHOLE = [list(range(7))]
MAPS = ("own", "grad_cam", *CONTROLS)


def maps() -> dict[str, np.ndarray]:
    """All maps by name, straight from the definitions."""
    batch = noisy()
    prediction = Explained().explain(batch["image"], batch["label"])
    found = dict(prediction.attributions)
    for control in CONTROLS:
        found[control] = control_attribution(control, batch["foreground"], batch["index"])
    return {name: values.detach().double().numpy() for name, values in found.items()}


def ending(judged: str) -> str:
    return "" if judged == "own" else f"_{judged}"


def truth() -> tuple[np.ndarray, np.ndarray]:
    batch = noisy()
    return batch["foreground"].numpy(), batch["has_foreground"].numpy()


@pytest.mark.parametrize("judged", MAPS)
def test_every_metric_of_every_map_is_its_definition(judged: str) -> None:
    values = answers(Localization(tolerance=2), WHOLE)
    foreground, known = truth()
    attribution, nothing = maps()[judged], np.zeros_like(foreground)
    pointing = loop_pointing_game(3, 2)(attribution, foreground, known, noisy()["label"].numpy())
    expected = {
        "epg": loop_epg(defined_only=False)(attribution, foreground, known)["value"],
        "pxap": loop_pxap(1000)(attribution, foreground, known, nothing)["value"],
        "pxap_fine": loop_pxap(65536)(attribution, foreground, known, nothing)["value"],
        "pxap_minmax": loop_pxap(1000, normalize=True)(attribution, foreground, known, nothing)["value"],
        "pxap_image": loop_pxap_image(1000)(attribution, foreground, known)["value"],
        **loop_iou_curve(101)(attribution, foreground, known),
        **pointing,
    }
    found = {name: values[f"localization/{name}{ending(judged)}"] for name in expected}
    assert found == pytest.approx(expected, abs=1e-6)
    assert values["localization/images"] == 5


def test_maps_that_are_the_same_everywhere_are_counted() -> None:
    values = answers(Localization(), WHOLE)
    for judged, attribution in maps().items():
        constant = sum(float(np.ptp(image)) == 0 for image in attribution)
        assert values[f"localization/constant_maps{ending(judged)}"] == constant
    assert values["localization/constant_maps_constant"] == 7


def test_ground_truth_is_the_best_that_can_be() -> None:
    values = answers(Localization(), WHOLE)
    counts = ("threshold", "constant_maps")
    names = [name for name in values if name.endswith("_ground_truth") and not any(each in name for each in counts)]
    best = [values[name] for name in names]
    assert len(best) == 9
    assert [value for value in best if value < 0.99] == []


def test_boxes_are_compared_if_asked_for() -> None:
    values = answers(Localization(boxes=True), WHOLE)
    batch = noisy()
    for judged in MAPS:
        expected = {}
        for version in ("v1", "v2"):
            attribution = torch.from_numpy(maps()[judged])
            found = max_box_accuracy(attribution, batch["foreground"], batch["has_foreground"], version=version)
            expected |= {f"localization/{name}{ending(judged)}": value.item() for name, value in found.items()}
        assert len(expected) == 5
        assert {name: values[name] for name in expected} == expected
    assert not any("max_box" in name for name in answers(Localization(), WHOLE))


def test_threshold_comes_from_validation() -> None:
    evaluation, classifier = Localization(), Explained()
    evaluation.prepare(spec(), classifier.network)
    count(evaluation, noisy(), [[0, 2]], classifier)  # the validation split
    best = {name: value for name, value in named(evaluation.compute()).items() if "iou_best" in name}
    evaluation.calibrate()
    evaluation.reset()
    evaluation.prepare(spec(), classifier.network)  # as a trainer does before the test
    count(evaluation, noisy(), [[4, 5, 6]], classifier)
    tested = named(evaluation.compute())
    assert not any("iou_best" in name for name in tested)
    foreground, known = (values[[4, 5, 6]] for values in truth())
    for judged in MAPS:
        threshold = best[f"localization/iou_best_threshold{ending(judged)}"]
        assert tested[f"localization/iou_threshold{ending(judged)}"] == threshold
        expected = loop_iou_at(threshold, maps()[judged][[4, 5, 6]], foreground, known)
        assert tested[f"localization/iou{ending(judged)}"] == pytest.approx(expected, abs=1e-6)
    assert tested["localization/iou"] <= answers(Localization(), [[4, 5, 6]])["localization/iou_best"]


def test_chart_is_the_iou_of_every_map() -> None:
    evaluation = Localization()
    values = answers(evaluation, WHOLE)
    (curve,) = evaluation.charts()
    assert list(curve.series) == ["own attribution", "Grad-CAM", *(control.replace("_", " ") for control in CONTROLS)]
    assert np.trapezoid(curve.series["Grad-CAM"], curve.x) == pytest.approx(values["localization/iou_auc_grad_cam"])


def test_legacy_values_are_apart_and_are_their_definitions() -> None:
    values = answers(LegacyCometLocalization(edges=40, threshold=0.5, grad_cam_threshold=0.3), WHOLE)
    assert all(name.startswith("legacy_comet/") for name in values)
    foreground, known = truth()
    for judged in MAPS:
        attribution = maps()[judged]
        expected = loop_legacy_average_precision(40)(attribution, foreground, known)["value"]
        assert values[f"legacy_comet/pxap_40{ending(judged)}"] == pytest.approx(expected, abs=1e-6)
        threshold = 0.3 if judged == "grad_cam" else 0.5
        area = loop_legacy_iou_auc(threshold, 20000)(attribution, foreground, known)["value"]
        assert values[f"legacy_comet/iou_auc{ending(judged)}"] == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize("evaluation", [Localization, LegacyCometLocalization])
def test_foregrounds_have_to_be_there(evaluation: type[Localization]) -> None:
    with pytest.raises(ValueError, match=r"compares attributions with foregrounds, and toy has none; leave"):
        evaluation().prepare(spec(foreground="none"), Explained().network)
    with pytest.warns(UserWarning, match="found no foreground in any image of the split"):
        values = answers(evaluation(), [[3]])
    assert all(math.isnan(value) or key == "localization/images" for key, value in values.items())


class WithoutFeatures(ColourMeans):
    """Says nothing about where it looked."""

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(self.classify(images))


def test_a_network_without_features_is_judged_by_maps_that_ask_for_none() -> None:
    classifier, batch = Explained(WithoutFeatures()), noisy()
    values = answers(Localization(maps=["rise:masks=8"]), WHOLE, classifier.network)
    assert "localization/epg_rise:masks=8" in values
    evaluation = Localization()
    evaluation.prepare(spec(), classifier.network)
    with pytest.raises(ValueError, match=r"WithoutFeatures returns no last spatial features.*such as rise"):
        evaluation.update(classifier, batch, classifier(batch["image"]))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        Localization(tolerance=-1)
    with pytest.raises(ValueError, match="edges has to be at least 2"):
        LegacyCometLocalization(edges=1)


def test_a_validation_split_without_foregrounds_chooses_no_threshold() -> None:
    evaluation, classifier = Localization(), Explained()
    evaluation.prepare(spec(), classifier.network)
    count(evaluation, noisy(), [[3]], classifier)  # the image that has none
    evaluation.calibrate()
    assert evaluation.charts() == []
    evaluation.reset()
    count(evaluation, noisy(), [[4, 5, 6]], classifier)
    tested = named(evaluation.compute())
    assert "localization/iou_best" in tested
    assert "localization/iou" not in tested
