"""Attribution maps by name: registering one is enough for every evaluation, its keys and its charts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.attribution import (
    add_attributions,
    attribution_map,
    attribution_names,
    grad_cam,
    map_title,
    register_attribution,
    registry,
    validated_maps,
)
from maskexp.evaluation import Fidelity, LegacyCometLocalization, Localization, NoiseRobustness
from maskexp.evaluation.keys import ResultKey
from maskexp.results.summary import tabulate
from maskexp.types import Prediction
from tests.evaluation.doubles import Explained, answers, noisy, spec

WHOLE = [list(range(7))]


@pytest.fixture
def first_colour(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Register a map for one test, and count the images that it was asked for."""
    monkeypatch.setattr(registry, "_MAPS", dict(registry._MAPS))
    monkeypatch.setattr(registry, "_TITLES", dict(registry._TITLES))
    asked: list[int] = []

    @register_attribution("first_colour", title="First colour")
    def compute(network: object, images: Tensor, target: Tensor, features: Tensor | None = None) -> Tensor:
        asked.append(len(images))
        return images[:, :1]

    return asked


def test_a_registered_map_is_judged_by_every_evaluation_of_maps(first_colour: list[int]) -> None:
    maps = ["own", "first_colour"]
    for evaluation, key in (
        (Localization(maps=maps), "localization/pxap"),
        (LegacyCometLocalization(maps=maps), "legacy_comet/pxap_20"),
        (Fidelity(maps=maps), "fidelity/grey/pipeline/10"),
        (NoiseRobustness(maps=maps), "noise/pxap_80"),
    ):
        values = answers(evaluation, WHOLE)
        assert f"{key}_first_colour" in values
        assert f"{key}_grad_cam" not in values
    assert map_title("first_colour") == "First colour"
    evaluation = Fidelity(maps=maps)
    answers(evaluation, WHOLE)
    assert all(list(chart.series) == ["own attribution", "First colour", "random"] for chart in evaluation.charts())


def test_a_registered_map_stands_in_a_column_of_the_table(first_colour: list[int]) -> None:
    header, row = tabulate({"test/localization/epg": 0.5, "test/localization/epg_first_colour": 0.25})
    assert header == ["metric", "test", "first_colour"]
    assert row == ["localization/epg", "0.5000", "0.2500"]


def test_a_map_is_computed_once_for_all_evaluations_and_for_no_more_images_than_are_judged(
    first_colour: list[int],
) -> None:
    classifier, batch = Explained(), noisy()
    prediction = classifier.explain(batch["image"], batch["label"])
    for evaluation in (Localization(maps=["first_colour"]), Fidelity(maps=["first_colour"])):
        evaluation.prepare(spec(), classifier.network)
        evaluation.update(classifier, batch, prediction)
    assert first_colour == [7]
    assert answers(Fidelity(maps=["first_colour"], every=3), WHOLE)
    assert first_colour == [7, 3]


def test_the_own_map_is_grad_cam_where_a_network_has_no_masks() -> None:
    classifier, batch = Explained(), noisy()
    masked = classifier.explain(batch["image"], batch["label"])
    assert masked.attribution is masked.masks[0]
    plain = Prediction(masked.logits, features=masked.features)
    add_attributions(plain, classifier.network, batch["image"], batch["label"], ["own"])
    assert plain.attribution is not None
    assert torch.equal(plain.attribution, masked.attributions["grad_cam"])


def test_names_are_known_and_unknown_ones_have_a_suggestion() -> None:
    assert attribution_map("grad_cam") is grad_cam
    assert "grad_cam" in attribution_names()
    with pytest.raises(ValueError, match=r"no map called 'gradcam'; did you mean 'grad_cam'\?"):
        Localization(maps=["own", "gradcam"])
    with pytest.raises(ValueError, match="maps are a list of at least one of own, grad_cam"):
        Fidelity(maps=[])
    with pytest.raises(ValueError, match="maps are a list"):
        validated_maps("own")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own", "there is a map called 'own' already"),
        ("grad_cam", "already"),
        ("random", "already"),
        ("Grad-CAM", "lower-case letters"),
        ("", "lower-case letters"),
    ],
)
def test_names_that_are_taken_or_no_words_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_attribution(name)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ResultKey("", "acc_group/landbird/land"), "acc_group/landbird/land"),
        (ResultKey("", "epg", "grad_cam"), "epg_grad_cam"),
        (
            ResultKey("localization", "iou_best_threshold", "ground_truth"),
            "localization/iou_best_threshold_ground_truth",
        ),
        (ResultKey("insertion", "blur/predictor", "random"), "insertion/blur/predictor_random"),
    ],
)
def test_keys_are_joined_and_taken_apart(key: ResultKey, name: str) -> None:
    assert str(key) == name
    if key.evaluation or "/" not in key.metric:
        assert ResultKey.parse(name) == key
    assert str(ResultKey.parse(name)) == name
