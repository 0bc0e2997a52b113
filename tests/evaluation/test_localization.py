"""Every measure of localisation, for every row, against plain loops; and thresholds that the test does not choose."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from maskexp.evaluation import LegacyCometLocalization, Localization
from maskexp.metrics import CONTROLS, control_attribution
from maskexp.metrics.functional import max_box_accuracy
from maskexp.types import Batch
from tests.evaluation.subjects import Explained, answers, count, images, spec
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
ROWS = ("", "_grad_cam", *(f"_{control}" for control in CONTROLS))


def maps() -> dict[str, np.ndarray]:
    """The map of each row, straight from the definitions."""
    batch = images()
    prediction = Explained().explain(batch["image"], batch["label"])
    found = {"": prediction.attribution, "_grad_cam": prediction.extras["grad_cam"]}
    for control in CONTROLS:
        found[f"_{control}"] = control_attribution(control, batch["foreground"], batch["index"])
    return {row: values.detach().double().numpy() for row, values in found.items()}  # type: ignore[union-attr]


def truth() -> tuple[np.ndarray, np.ndarray]:
    batch = images()
    return batch["foreground"].numpy(), batch["has_foreground"].numpy()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_its_definition(row: str) -> None:
    values = answers(Localization(tolerance=2), WHOLE)
    foreground, known = truth()
    attribution, nothing = maps()[row], np.zeros_like(foreground)
    pointing = loop_pointing_game(3, 2)(attribution, foreground, known, images()["label"].numpy())
    expected = {
        "epg": loop_epg(defined_only=False)(attribution, foreground, known)["value"],
        "pxap": loop_pxap(1000)(attribution, foreground, known, nothing)["value"],
        "pxap_fine": loop_pxap(65536)(attribution, foreground, known, nothing)["value"],
        "pxap_minmax": loop_pxap(1000, normalize=True)(attribution, foreground, known, nothing)["value"],
        "pxap_image": loop_pxap_image(1000)(attribution, foreground, known)["value"],
        **loop_iou_curve(101)(attribution, foreground, known),
        **pointing,
    }
    found = {name: values[f"localization/{name}{row}"] for name in expected}
    assert found == pytest.approx(expected, abs=1e-6)
    assert values["localization/images"] == 5


def test_ground_truth_is_the_best_that_can_be() -> None:
    values = answers(Localization(), WHOLE)
    best = [value for name, value in values.items() if name.endswith("_ground_truth") and "threshold" not in name]
    assert len(best) == 9
    assert [value for value in best if value < 0.99] == []


def test_boxes_are_compared_if_asked_for() -> None:
    values = answers(Localization(boxes=True), WHOLE)
    batch = images()
    for row in ROWS:
        expected = {}
        for version in ("v1", "v2"):
            attribution = torch.from_numpy(maps()[row])
            found = max_box_accuracy(attribution, batch["foreground"], batch["has_foreground"], version=version)
            expected |= {f"localization/{name}{row}": value.item() for name, value in found.items()}
        assert len(expected) == 5
        assert {name: values[name] for name in expected} == expected
    assert not any("max_box" in name for name in answers(Localization(), WHOLE))


def test_threshold_comes_from_validation() -> None:
    evaluation, classifier = Localization(), Explained()
    evaluation.prepare(spec(), classifier.network)
    count(evaluation, [[0, 2]], classifier)  # the validation split
    best = {name: value.item() for name, value in evaluation.compute().items() if "iou_best" in name}
    evaluation.calibrate()
    evaluation.reset()
    evaluation.prepare(spec(), classifier.network)  # as a trainer does before the test
    count(evaluation, [[4, 5, 6]], classifier)
    tested = {name: value.item() for name, value in evaluation.compute().items()}
    assert not any("iou_best" in name for name in tested)
    foreground, known = (values[[4, 5, 6]] for values in truth())
    for row in ROWS:
        threshold = best[f"localization/iou_best_threshold{row}"]
        assert tested[f"localization/iou_threshold{row}"] == threshold
        expected = loop_iou_at(threshold, maps()[row][[4, 5, 6]], foreground, known)
        assert tested[f"localization/iou{row}"] == pytest.approx(expected, abs=1e-6)
    assert tested["localization/iou"] <= answers(Localization(), [[4, 5, 6]])["localization/iou_best"]


def test_curve_is_the_iou_of_every_row() -> None:
    evaluation = Localization()
    values = answers(evaluation, WHOLE)
    (curve,) = evaluation.charts()
    assert list(curve.series) == ["own attribution", "Grad-CAM", *(control.replace("_", " ") for control in CONTROLS)]
    assert np.trapezoid(curve.series["Grad-CAM"], curve.x) == pytest.approx(values["localization/iou_auc_grad_cam"])


def test_legacy_values_are_apart_and_are_their_definitions() -> None:
    values = answers(LegacyCometLocalization(edges=40, threshold=0.5, grad_cam_threshold=0.3), WHOLE)
    assert all(name.startswith("legacy_comet/") for name in values)
    foreground, known = truth()
    for row in ROWS:
        attribution = maps()[row]
        expected = loop_legacy_average_precision(40)(attribution, foreground, known)["value"]
        assert values[f"legacy_comet/pxap_40{row}"] == pytest.approx(expected, abs=1e-6)
        threshold = 0.3 if row == "_grad_cam" else 0.5
        area = loop_legacy_iou_auc(threshold, 20000)(attribution, foreground, known)["value"]
        assert values[f"legacy_comet/iou_auc{row}"] == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize("evaluation", [Localization, LegacyCometLocalization])
def test_foregrounds_have_to_be_there(evaluation: type[Localization]) -> None:
    with pytest.raises(ValueError, match=r"compares attributions with foregrounds, and toy has none; leave"):
        evaluation().prepare(spec(foreground="none"), Explained().network)
    with pytest.raises(ValueError, match="found no foreground in any image of this split"):
        answers(evaluation(), [[3]])


def test_predictions_without_a_map_are_refused() -> None:
    evaluation, classifier = Localization(), Explained()
    evaluation.prepare(spec(), classifier.network)
    batch: Batch = images()
    with pytest.raises(ValueError, match="no attribution or no Grad-CAM"):
        evaluation.update(classifier, batch, classifier(batch["image"]))


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="tolerance"):
        Localization(tolerance=-1)
    with pytest.raises(ValueError, match="edges has to be at least 2"):
        LegacyCometLocalization(edges=1)
    module = importlib.import_module("maskexp.metrics.functional.max_box_accuracy")  # its name is also a function's
    monkeypatch.setattr(module, "ndimage", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        Localization(boxes=True)
