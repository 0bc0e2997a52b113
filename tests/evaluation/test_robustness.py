"""Accuracy and maps of disturbed images, worked out image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from maskexp.evaluation import NoiseRobustness
from maskexp.metrics import CONTROLS, control_attribution
from maskexp.metrics.functional import kept_pixels
from tests.evaluation.doubles import SIDE, Explained, MaskedPixels, answers, noisy, spec
from tests.metrics.cases import loop_pxap

WHOLE = [list(range(7))]
NETWORK = MaskedPixels()
GREY = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)


def disturbed(image: int, keep: float) -> Tensor:
    kept = kept_pixels(torch.tensor([image]), (SIDE, SIDE), keep)
    return torch.where(kept, noisy()["image"][image : image + 1], GREY)


def maps_of(images: list[Tensor]) -> dict[str, np.ndarray]:
    classifier, label, found = Explained(NETWORK), noisy()["label"], {}  # type: ignore[var-annotated]
    for i, image in enumerate(images):
        for name, values in classifier.explain(image, label[i : i + 1]).attributions.items():
            found.setdefault(name, []).append(values.detach())
    return {name: torch.cat(values).numpy() for name, values in found.items()}


def test_noise_is_its_definition() -> None:
    values = answers(NoiseRobustness(keep_for_accuracy=0.7, keep_for_attribution=0.5), WHOLE, NETWORK)
    batch = noisy()
    right = [int(NETWORK(disturbed(i, 0.7)).logits.argmax()) == batch["label"][i] for i in range(7)]
    expected = {"noise/acc_70": sum(map(float, right)) / 7}
    clean = maps_of([batch["image"][i : i + 1] for i in range(7)])
    rows = maps_of([disturbed(i, 0.5) for i in range(7)])
    for control in CONTROLS:
        rows[control] = control_attribution(control, batch["foreground"], batch["index"]).numpy()
    foreground, known, nothing = (
        batch["foreground"].numpy(),
        batch["has_foreground"].numpy(),
        np.zeros((7, 1, SIDE, SIDE), dtype=bool),
    )
    for name, attribution in rows.items():
        ending = "" if name == "own" else f"_{name}"
        expected[f"noise/pxap_50{ending}"] = loop_pxap(1000)(attribution, foreground, known, nothing)["value"]
        if name != "ground_truth":
            own = clean.get(name, clean["own"]).astype(np.float64)
            reference = own > own.mean(axis=(2, 3), keepdims=True)
            everywhere = np.ones(7, dtype=bool)
            precision = loop_pxap(1000)(attribution, reference, everywhere, nothing)["value"]
            expected[f"noise/pxap_vs_clean_50{ending}"] = precision
    assert values == pytest.approx(expected, abs=1e-6)


def test_without_noise_a_map_is_as_good_as_the_clean_one() -> None:
    values = answers(NoiseRobustness(keep_for_accuracy=1, keep_for_attribution=1), WHOLE, NETWORK)
    clean = answers(NoiseRobustness(keep_for_attribution=0.2), WHOLE, NETWORK)
    assert values["noise/pxap_100_constant"] == clean["noise/pxap_20_constant"]  # controls do not see the noise
    assert values["noise/pxap_vs_clean_100"] > clean["noise/pxap_vs_clean_20"]


def test_foregrounds_are_needed_only_where_they_are_compared() -> None:
    with pytest.raises(ValueError, match=r"toy has no foregrounds .* give NoiseRobustness against: \[clean\]"):
        NoiseRobustness().prepare(spec(foreground="none"), NETWORK)
    values = answers(NoiseRobustness(against=["clean"]), WHOLE, NETWORK, spec(foreground="none"))
    assert sorted(values) == sorted(
        ["noise/acc_90"]
        + [f"noise/pxap_vs_clean_80{row}" for row in ("", "_grad_cam", "_random", "_centred_gaussian", "_constant")]
    )


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="'layer' is no fill; choose"):
        NoiseRobustness(hiding="layer")
    with pytest.raises(ValueError, match=r"stay with a probability in \[0, 1\]"):
        NoiseRobustness(keep_for_accuracy=90)
    with pytest.raises(ValueError, match="against ground_truth and clean, not"):
        NoiseRobustness(against=["noise"])  # type: ignore[list-item]
