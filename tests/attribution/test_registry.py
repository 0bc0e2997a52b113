"""Attribution maps by name: registering one is enough for every evaluation, its keys and its charts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.attribution import (
    add_attributions,
    attribution_map,
    attribution_names,
    map_title,
    register_attribution,
    registry,
    require_maps,
    validated_maps,
)
from maskexp.evaluation import Fidelity, LegacyCometLocalization, Localization, NoiseRobustness
from maskexp.evaluation.keys import ResultKey
from maskexp.masking.inputs import Black, InputMasking
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
    assert "grad_cam" in attribution_names()
    with pytest.raises(ValueError, match=r"no map called 'gradcam'; did you mean 'grad_cam'\?"):
        Localization(maps=["own", "gradcam"])
    with pytest.raises(ValueError, match="maps are a list of at least one of own, cam, grad_cam"):
        Fidelity(maps=[])
    with pytest.raises(ValueError, match="maps are a list"):
        validated_maps("own")


def test_the_maps_of_the_papers_are_all_there() -> None:
    assert {
        *("cam", "grad_cam", "grad_cam_plus_plus", "score_cam", "xgrad_cam", "layer_cam", "ablation_cam"),
        *("integrated_gradients", "smooth_grad", "input_x_gradient", "occlusion", "rise", "lime", "attention_rollout"),
    } <= set(attribution_names())


def test_values_become_maps_between_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MAPS", dict(registry._MAPS))
    monkeypatch.setattr(registry, "_TITLES", dict(registry._TITLES))
    values = torch.tensor([[-1.0, 0.0, 3.0], [2.0, 2.0, 2.0], [-4.0, -2.0, -4.0], [0.0, 0.0, 0.0]])[:, None, None]
    for scale, expected in (
        ("positive", [[0, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]),
        ("min_max", [[0, 0.25, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    ):
        register_attribution(f"four_{scale}", scale=scale)(lambda *_: values)
        found = attribution_map(f"four_{scale}")(None, values, values)
        torch.testing.assert_close(found, torch.tensor(expected).float()[:, None, None])


def test_a_name_may_carry_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MAPS", dict(registry._MAPS))
    monkeypatch.setattr(registry, "_TITLES", dict(registry._TITLES))
    seen: list[tuple[object, ...]] = []

    @register_attribution("settled")
    def compute(
        network: object,
        images: Tensor,
        target: Tensor,
        features: Tensor | None = None,
        *,
        hiding: InputMasking | None = None,
        share: float = 0.5,
        count: int | None = None,
        layer: str | None = None,
    ) -> Tensor:
        seen.append((hiding, share, count, layer))
        return images

    maps = validated_maps(["settled", "settled:hiding=black:share=0.25:count=3:layer=a.b"])
    for name in maps:
        attribution_map(name)(None, torch.zeros(1), torch.zeros(1))
    assert seen == [(None, 0.5, None, None), (Black(), 0.25, 3, "a.b")]
    assert map_title(maps[1]) == "settled (hiding=black, share=0.25, count=3, layer=a.b)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rise:mask=5", r"the map rise has no setting 'mask'; did you mean 'masks'\?"),
        ("rise:masks", r"the map rise has no setting in 'masks', which lacks a =; did you mean 'masks'\?"),
        ("rise:masks=many", "the setting masks of the map rise is 'many'; it has to be a whole number greater than 0"),
        ("rise:masks=0", "greater than 0"),
        ("rise:hiding=lyer", "there is no way of hiding called 'lyer'; choose black, grey"),
        ("ris", r"there is no map called 'ris'; did you mean 'rise'\?"),
        ("attention_rollout:heads=3", "no setting 'heads'; it has none"),
        (3, "a map is named by a string, not 3"),
    ],
)
def test_names_and_settings_that_are_misspelt_or_impossible_are_refused_at_the_start(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fidelity(maps=["own", name])


def test_a_network_that_a_map_cannot_explain_is_refused_before_any_image_is_seen() -> None:
    for evaluation in (Localization, Fidelity, NoiseRobustness, LegacyCometLocalization):
        with pytest.raises(ValueError, match="attention_rollout follows the attention of a vision transformer"):
            evaluation(maps=["attention_rollout"]).prepare(spec(), Explained().network)
    with pytest.raises(ValueError, match="has no layer 'layer4'"):
        require_maps(Explained().network, ["own", "grad_cam:layer=layer4"])


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
        (ResultKey("localization", "epg", "rise:masks=50"), "localization/epg_rise:masks=50"),
        (ResultKey("", "acc_group/a:b/c_d:e"), "acc_group/a:b/c_d:e"),
        (ResultKey("insertion", "blur/predictor", "random"), "insertion/blur/predictor_random"),
    ],
)
def test_keys_are_joined_and_taken_apart(key: ResultKey, name: str) -> None:
    assert str(key) == name
    if key.evaluation or "/" not in key.metric:
        assert ResultKey.parse(name) == key
    assert str(ResultKey.parse(name)) == name
