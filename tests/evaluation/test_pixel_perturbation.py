"""Fidelity, insertion and deletion, sufficiency: image by image, with nothing but the network's own forward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskexp.evaluation import Evaluation, Fidelity, InsertionAndDeletion, SufficiencyAndComprehensiveness
from maskexp.masking.inputs import create_input_masking
from maskexp.metrics import control_attribution
from tests.evaluation.doubles import SIDE, Explained, MaskedPixels, WeightedPixels, answers, count, named, noisy, spec

WHOLE = [list(range(7))]
PIXELS = SIDE * SIDE
MAPS = ("own", "grad_cam", "random")
PATHS = ("predictor", "pipeline")
NETWORK = MaskedPixels()


@cache
def maps() -> dict[str, np.ndarray]:
    batch = noisy()
    prediction = Explained(NETWORK).explain(batch["image"], batch["label"])
    random = control_attribution("random", batch["foreground"], batch["index"])
    found = prediction.attributions | {"random": random}
    return {name: values.detach().numpy() for name, values in found.items()}


def ending(judged: str) -> str:
    return "" if judged == "own" else f"_{judged}"


def part(path: str) -> nn.Module:
    return NETWORK.predictor if path == "predictor" else NETWORK


def first(judged: str, image: int, share: float) -> list[int]:
    values = maps()[judged][image].ravel().tolist()
    return sorted(range(PIXELS), key=lambda pixel: (-values[pixel], pixel))[: round(share * PIXELS)]


def shown(image: int, pixels: list[int], hiding: str, *, hidden: bool) -> Tensor:
    """One image of which the pixels are hidden, or all others are."""
    visible = torch.full((PIXELS,), hidden)
    visible[pixels] = not hidden
    fill = create_input_masking(hiding)
    return fill.fill(noisy()["image"][image : image + 1], visible.view(1, 1, SIDE, SIDE))  # type: ignore[attr-defined]


@torch.no_grad()
def logits(path: str, image: Tensor) -> Tensor:
    return part(path)(image).logits[0]  # type: ignore[no-any-return]


def average(of_image: Callable[[int], float]) -> float:
    return sum(of_image(i) for i in range(7)) / 7


def predicted(path: str, image: int) -> int:
    return int(logits(path, noisy()["image"][image : image + 1]).argmax())


def probability(path: str, image: Tensor, target: int) -> float:
    return float(logits(path, image).double().softmax(0)[target])


def test_fidelity_is_its_definition() -> None:
    values = answers(
        Fidelity(hiding=["grey", "noise"], shares=[0.1, 0.4], protocols=["remove", "keep"]), WHOLE, NETWORK
    )
    label = noisy()["label"].tolist()
    expected = {f"fidelity/{path}/00": average(lambda i, p=path: predicted(p, i) == label[i]) for path in PATHS}
    for hiding in ("grey", "noise"):
        for path in PATHS:
            for share in (0.1, 0.4):
                for judged in MAPS:
                    for keep in (False, True):
                        right = [
                            int(logits(path, shown(i, first(judged, i, share), hiding, hidden=not keep)).argmax())
                            == label[i]
                            for i in range(7)
                        ]
                        key = f"fidelity/{hiding}/{path}/{'keep_' if keep else ''}{round(100 * share)}{ending(judged)}"
                        expected[key] = sum(right) / 7
    counts = {name: value for name, value in values.items() if "constant_maps" in name}
    assert counts == {f"fidelity/constant_maps{ending(judged)}": 0 for judged in MAPS}
    assert {name: value for name, value in values.items() if name not in counts} == pytest.approx(expected)
    assert len({value for name, value in values.items() if "/grey/" in name}) > 3  # the question has several answers


def test_insertion_and_deletion_are_their_definitions() -> None:
    values = answers(InsertionAndDeletion(steps=4), WHOLE, NETWORK)
    expected = {}
    for path in PATHS:
        for judged in MAPS:
            for direction, hiding in (("insertion", "blur"), ("deletion", "grey")):

                def area(i: int, path: str = path, judged: str = judged, way: str = hiding) -> float:
                    target, removed = predicted(path, i), way == "grey"
                    images = [shown(i, first(judged, i, step / 4), way, hidden=removed) for step in range(5)]
                    curve = [probability(path, image, target) for image in images]
                    return (sum(curve) - curve[0] / 2 - curve[-1] / 2) / 4

                expected[f"{direction}/{hiding}/{path}{ending(judged)}"] = average(area)
    assert values == pytest.approx(expected, abs=1e-6)


def test_sufficiency_and_comprehensiveness_are_their_definitions() -> None:
    values = answers(SufficiencyAndComprehensiveness(hiding=["black"], shares=[0.1, 0.5]), WHOLE, NETWORK)
    expected = {}
    for question, hidden in (("sufficiency", False), ("comprehensiveness", True)):
        for path in PATHS:
            for judged in MAPS:

                def loss(i: int, path: str = path, judged: str = judged, hidden: bool = hidden) -> float:
                    target, image = predicted(path, i), noisy()["image"][i : i + 1]
                    parts = [shown(i, first(judged, i, share), "black", hidden=hidden) for share in (0.1, 0.5)]
                    left = [probability(path, image, target) for image in parts]
                    return probability(path, image, target) - sum(left) / 2

                expected[f"{question}/black/{path}{ending(judged)}"] = average(loss)
    for judged in ("own", "grad_cam"):
        for question, judge in (("sufficiency", NETWORK.predictor), ("comprehensiveness", NETWORK.detector)):

            def soft(i: int, judge: nn.Module = judge, judged: str = judged) -> float:
                image, mask = noisy()["image"][i : i + 1], torch.from_numpy(maps()[judged][i])
                seen = image * (mask if judge is NETWORK.predictor else 1 - mask)
                with torch.no_grad():
                    whole, masked = (judge(shown).logits[0].double().softmax(0) for shown in (image, seen))
                target = predicted("pipeline", i)
                return float(whole[target] - masked[target])

            expected[f"{question}/black/soft{ending(judged)}"] = average(soft)
    assert values == pytest.approx(expected, abs=1e-6)


CASES: dict[str, Callable[[], Evaluation]] = {
    "fidelity": Fidelity,
    "insertion": lambda: InsertionAndDeletion(steps=3),
    "sufficiency": SufficiencyAndComprehensiveness,
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_network_without_parts_says_the_same_on_both_paths(name: str) -> None:
    classifier, evaluation = Explained(WeightedPixels(3).eval()), CASES[name]()
    evaluation.prepare(spec(), classifier.network)
    count(evaluation, noisy(), WHOLE, classifier)
    values = named(evaluation.compute())
    one = {key.replace("predictor", ""): value for key, value in values.items() if "predictor" in key}
    assert one == {key.replace("pipeline", ""): value for key, value in values.items() if "pipeline" in key}
    assert len(one) >= 3
    assert len(evaluation.charts()) % 2 == 0


@pytest.mark.parametrize("name", ["fidelity", "insertion"])
def test_curves_are_behind_the_numbers(name: str) -> None:
    evaluation = CASES[name]()
    values = answers(evaluation, WHOLE, NETWORK)
    for curve in evaluation.charts():
        assert list(curve.series) == ["own attribution", "Grad-CAM", "random"]
        assert {len(line) for line in curve.series.values()} == {len(curve.x)}
    last = evaluation.charts()[0]
    if name == "fidelity":
        assert last.series["random"][-1] == values["fidelity/grey/predictor/20_random"]
    else:
        area = np.trapezoid(last.series["Grad-CAM"], last.x)
        assert area == pytest.approx(values["insertion/blur/predictor_grad_cam"])


def test_every_nth_row_however_it_was_batched() -> None:
    values = answers(Fidelity(every=3), WHOLE, NETWORK)
    assert values == answers(Fidelity(every=3), [[6, 1, 2], [0], [5, 4, 3]], NETWORK)
    assert values == answers(Fidelity(), [[0, 3, 6]], NETWORK)


def test_soft_versions_belong_to_fills() -> None:
    values = SufficiencyAndComprehensiveness(hiding=["layer", "grey"])
    values.prepare(spec(), NETWORK)
    assert [name for name in values.soft if "layer" in name] == []
    assert len(values.soft) == 4


def test_no_foreground_is_needed() -> None:
    for make in CASES.values():
        make().prepare(spec(foreground="none"), NETWORK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hiding": []}, "no way of hiding"),
        ({"hiding": ["fog"]}, "no way of hiding called 'fog'"),
        ({"paths": ["detour"]}, "paths are predictor, pipeline"),
        ({"paths": []}, "at least one of them"),
        ({"shares": [1.5]}, "different numbers"),
        ({"every": 0}, "every is 0"),
    ],
)
@pytest.mark.parametrize("evaluation", [Fidelity, SufficiencyAndComprehensiveness])
def test_bad_arguments_are_refused(
    evaluation: Callable[..., Evaluation], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation(**arguments)


def test_more_bad_arguments() -> None:
    with pytest.raises(ValueError, match="'remove' or 'keep'"):
        Fidelity(protocols=["add"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="steps has to be at least 1"):
        InsertionAndDeletion(steps=0)
