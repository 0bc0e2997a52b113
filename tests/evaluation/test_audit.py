"""The audit tells networks that cheat from one that does not, and each of its numbers is what it is called."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskexp.evaluation import Audit
from maskexp.evaluation.audit import (
    VERDICTS,
    AuditSettings,
    Finding,
    audit_network,
    between_networks,
    chosen_rows,
    probe,
)
from maskexp.evaluation.audit.findings import Resampling
from maskexp.evaluation.audit.probe import held_out_predictions
from maskexp.evaluation.audit.questioning import Questioning, iou
from maskexp.evaluation.audit.reach import reachable_pixels
from maskexp.evaluation.audit.sample import Sample
from maskexp.evaluation.subsets import select
from maskexp.models.aim import AIMNetwork
from maskexp.models.classifier import Classifier
from maskexp.models.comet import COMETNetwork
from maskexp.types import OWN, Batch, Prediction
from tests.distributed import run_ranks
from tests.evaluation.doubles import Explained, named
from tests.evaluation.planted import (
    CLASSES,
    SIDE,
    EncodesTheClass,
    Honest,
    IgnoresItsMask,
    Planted,
    planted_images,
    planted_spec,
)

SETTINGS = AuditSettings(hiding=("layer", "grey", "black"), resamples=200)
NETWORKS: dict[str, type[Planted]] = {
    "honest": Honest,
    "ignores its mask": IgnoresItsMask,
    "encodes the class": EncodesTheClass,
}


@cache
def audited(name: str) -> dict[str, Finding]:
    """The findings about a planted network, by part."""
    findings = audit_network(NETWORKS[name](), planted_images(90), planted_spec(), SETTINGS)
    return {finding.part: finding for finding in findings}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("honest", ["sealed", "no leak", "sufficient", "complete", "stable", "right reasons"]),
        ("ignores its mask", ["open", "no leak", "insufficient", "incomplete", "stable", "right reasons"]),
        ("encodes the class", ["sealed", "leak", "insufficient", "incomplete", "stable", "wrong reasons"]),
    ],
)
def test_planted_networks_are_told_apart(name: str, verdicts: list[str]) -> None:
    assert [finding.verdict for finding in audited(name).values()] == verdicts


@pytest.mark.slow
def test_numbers_of_the_planted_networks() -> None:
    honest, ignores, encodes = (audited(name) for name in NETWORKS)
    assert honest["hidden_influence"].number.value == 0
    assert honest["hidden_influence"].control.value == 1
    assert ignores["hidden_influence"].number.value == 1
    assert ignores["hidden_influence"].details["beyond_reach_held"].value == 1
    assert honest["hidden_influence"].details["beyond_reach_held"].value == 0
    # Average pooling: exactly the pixels of the active cells reach them.
    assert honest["hidden_influence"].details["within_reach"].value == 0
    code = encodes["mask_as_code"].details
    assert encodes["mask_as_code"].number.value == 1
    assert (code["accuracy_same_class"].value, code["accuracy_another_class"].value) == (1, 0)
    assert code["follows_mask"].value == 1
    assert code["probe_position"].value == 1
    assert code["probe_area"].high < 0.6
    assert ignores["mask_as_code"].details["accuracy_at_random"].value == 1
    assert honest["sufficiency"].number.value == 1
    table = honest["right_reasons"].groups
    assert sum(sum(counts.values()) for counts in table.values()) == 90
    assert encodes["right_reasons"].rows
    assert "only the mask is left" in encodes["hidden_influence"].sentence


@pytest.mark.slow
def test_every_verdict_and_detail_is_recorded() -> None:
    for finding in audited("honest").values():
        assert finding.verdict in VERDICTS
        assert finding.sentence.endswith(".")
        assert finding.number.low <= finding.number.value <= finding.number.high
        content = finding.to_dict()
        assert content["control"]["name"]
        assert not any(isinstance(value, float) and math.isnan(value) for value in content["number"].values())


def _evaluated(batches: list[list[int]], images: int = 40) -> dict[str, float]:
    whole = planted_images(60)
    audit = Audit(images=images, hiding=["grey"], resamples=50)
    classifier = Explained(Honest())
    audit.prepare(planted_spec(), classifier.network)
    for rows in batches:
        part = select(whole, torch.tensor(rows))
        with torch.inference_mode():
            audit.update(classifier, part, classifier.explain(part["image"], part["label"]))
    with torch.inference_mode():
        return named(audit.compute())


SHARDINGS = {  # by name, the batches of each of the two ranks
    "unequal": [[[6, 1], [3]], [[0, 5], [2], [4]]],
    "rank without images": [[], [[0, 1, 2], [3, 4, 5, 6]]],
}


def _sampled(batches: list[list[int]]) -> dict[str, list[Any]]:
    sample = Sample(5, seed=0)
    for rows in batches:
        sample.update(select(planted_images(7), torch.tensor(rows)))
    sample.stand_in((SIDE, SIDE))
    whole: Any = sample.compute()
    return {name: value.tolist() for name, value in whole.items()}


def _samples_on_ranks(rank: int, world_size: int) -> dict[str, dict[str, list[Any]]]:
    warnings.simplefilter("ignore")  # a rank without images computes before it was updated, on purpose
    return {name: _sampled(batches[rank]) for name, batches in SHARDINGS.items()}


def test_two_ranks_take_the_sample_of_one_process() -> None:
    whole = _sampled([list(range(7))])
    assert len(whole["index"]) == 5
    assert run_ranks(_samples_on_ranks, 2, timeout=120) == [dict.fromkeys(SHARDINGS, whole)] * 2


@pytest.mark.slow
def test_batches_do_not_matter_and_the_command_audits_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "STEPS", 5)
    whole = _evaluated([list(range(60))])
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    parts = _evaluated([shuffled[:7], shuffled[7:31], shuffled[31:]])
    assert parts == pytest.approx(whole, abs=1e-6, nan_ok=True)
    assert whole["audit/hidden_influence"] == 0
    assert whole["audit/right_reasons_control"] > 0.5
    rows = chosen_rows(range(60), 40, 0)
    settings = AuditSettings(hiding=("grey",), resamples=50)
    direct = audit_network(Honest(), select(planted_images(60), torch.tensor(rows)), planted_spec(), settings)
    assert {f"audit/{finding.part}": finding.number.value for finding in direct} == pytest.approx(
        {name: value for name, value in whole.items() if name in {f"audit/{finding.part}" for finding in direct}},
        abs=1e-6,
    )


def test_fewer_images_are_a_sample_by_seed_and_rows() -> None:
    chosen = chosen_rows(range(100), 10, 3)
    assert chosen == sorted(chosen)
    assert chosen == chosen_rows(reversed(range(100)), 10, 3)
    assert chosen != chosen_rows(range(100), 10, 4)
    assert chosen_rows(range(4), 10, 0) == [0, 1, 2, 3]


def test_intervals_are_those_of_the_bootstrap() -> None:
    values = torch.tensor([1.0, 0.0, 1.0, 1.0, math.nan, 0.0, 1.0, 1.0] * 25)
    estimate = Resampling(2000, 0)(values)
    assert estimate.n == 175
    assert estimate.value == pytest.approx(5 / 7)
    spread = math.sqrt(5 / 7 * 2 / 7 / 175)
    assert estimate.low == pytest.approx(5 / 7 - 1.96 * spread, abs=0.012)
    assert estimate.high == pytest.approx(5 / 7 + 1.96 * spread, abs=0.012)
    assert Resampling(2000, 0)(values) == estimate
    assert Resampling(10, 0)(torch.tensor([math.nan])).n == 0


def test_the_probe_learns_what_is_there_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(80) % 2
    told = torch.stack([label.float(), torch.rand(80, generator=generator)], dim=1)
    noise = torch.rand(80, 5, generator=generator)
    assert bool((held_out_predictions(told, label, 2, 0) == label).all())
    assert 0.3 < (held_out_predictions(noise, label, 2, 0) == label).float().mean() < 0.7
    with torch.inference_mode():
        assert bool((held_out_predictions(told.clone(), label.clone(), 2, 0) == label).all())


def test_overlaps_are_counted_pixel_by_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(4, 1, 5, 6, generator=generator) < 0.5 for _ in range(2))
    first[3] = second[3] = False
    expected = []
    for a, b in zip(first.numpy(), second.numpy(), strict=True):
        union = int(np.logical_or(a, b).sum())
        expected.append(np.logical_and(a, b).sum() / union if union else math.nan)
    assert iou(first, second).tolist() == pytest.approx(expected, nan_ok=True)
    assert math.isnan(expected[3]), "two masks that show nothing agree on nothing"


def test_donors_are_other_images_of_the_class_that_is_asked_for() -> None:
    asked = Questioning(Honest(), planted_images(30))
    label = asked.label
    for same in (True, False, None):
        donors = asked.donors(same, 0)
        assert bool((donors != torch.arange(30)).all())
        if same is not None:
            assert bool(((label[donors] == label) == same).all())
    alone = Questioning(Honest(), select(planted_images(3), torch.tensor([0, 1])))
    assert alone.donors(True, 0).tolist() == [-1, -1]


def _field(cell: tuple[int, int], image: int = 64) -> Tensor:
    """The receptive field of a cell at stride 8 of ``small_convnet``: 38 pixels, from three 2 × 2 poolings."""
    reached = torch.zeros(image, image, dtype=torch.bool)
    top, left = (max(8 * place - 15, 0) for place in cell)
    bottom, right = (min(8 * place + 8 + 15, image) for place in cell)
    reached[top:bottom, left:right] = True
    return reached


def test_reach_is_the_receptive_field_of_the_active_cells() -> None:
    torch.manual_seed(0)
    network = AIMNetwork(
        *("small_convnet", 2),
        stages=1,
        weights=None,
        image_size=(64, 64),
        feature_width=8,
        branch_kernel=1,
        estimator_input="stage",
        estimator_reduction=4,
        estimator_blocks=1,
        global_branch=True,
        initial_bias=0.0,
        gumbel="sigmoid",
        temperature=1.0,
        eval_noise=False,
        pooling="all",
        sparse_below=0.0,
    ).eval()
    images = planted_images(2)
    batch: Batch = {**images, "image": torch.rand(2, 3, 64, 64), "foreground": torch.zeros(2, 1, 64, 64).bool()}
    asked = Questioning(network, batch)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, 4, 3] = mask[1, 0, 0, 7] = mask[1, 0, 6, 1] = 1
    asked.base.masks[0].copy_(mask)
    asked.base.shown.copy_(torch.nn.functional.interpolate(mask, size=(64, 64)) > 0)
    reached = reachable_pixels(asked, torch.arange(2), seed=0)
    assert reached is not None
    expected = torch.stack([_field((4, 3)), _field((0, 7)) | _field((6, 1))])[:, None]
    assert not bool((reached & ~expected).any())
    assert (reached == expected).float().mean() > 0.995


def test_a_classifier_without_a_mask_is_audited_by_its_map_of_the_predicted_class() -> None:
    torch.manual_seed(0)
    network = Classifier("small_convnet", CLASSES, None, (SIDE, SIDE)).eval()
    findings = audit_network(network, planted_images(20), planted_spec(), AuditSettings(hiding=("grey",), resamples=20))
    by_part = {finding.part: finding for finding in findings}
    assert "follows_mask" not in by_part["mask_as_code"].details
    asked = AuditSettings().question(network, planted_images(4))
    assert "Grad-CAM of the predicted class above 0.5 (it has no mask)" in asked.map_in_words
    assert not asked.holds_masks


def test_comet_decides_by_masks_that_are_given() -> None:
    torch.manual_seed(0)
    network = COMETNetwork(
        *("small_convnet", CLASSES),
        image_size=(SIDE, SIDE),
        detector_backbone=None,
        detector="none",
        predictor="train",
        detector_bn="eval",
        hiding="grey",
        selector="small_convnet",
        selector_weights=None,
        selector_stride=4,
    ).eval()
    images = planted_images(3)["image"]
    own: Prediction = network(images)
    assert torch.equal(network(images, masks=own.masks).logits, own.logits)
    nothing = torch.zeros(3, 1, SIDE, SIDE)
    assert torch.allclose(network(images, masks=[nothing]).logits[0], network(images, masks=[nothing]).logits[2])
    with pytest.raises(ValueError, match="masks were given"):
        network(images, masks=[nothing, nothing])


class NeedsItsOwnMask(Honest):
    """An honest network of somebody else, whose masks cannot be given from outside."""

    def forward(self, images: Tensor) -> Prediction:  # type: ignore[override]
        return super().forward(images)


def test_masks_that_cannot_be_held_are_asked_with_noise() -> None:
    settings = AuditSettings(hiding=("grey",), resamples=20)
    findings = {f.part: f for f in audit_network(NeedsItsOwnMask(), planted_images(30), planted_spec(), settings)}
    assert "image_held" not in findings["hidden_influence"].details
    assert findings["hidden_influence"].verdict == "sealed"
    assert "follows_mask" not in findings["mask_as_code"].details


def test_data_without_foregrounds_are_not_asked_for_right_reasons() -> None:
    batch = planted_images(12)
    blind: Batch = {
        **batch,
        "foreground": torch.zeros_like(batch["foreground"]),
        "has_foreground": torch.zeros(12, dtype=torch.bool),
    }
    settings = AuditSettings(hiding=("token_dropping",), resamples=10)
    findings = {finding.part: finding for finding in audit_network(Honest(), blind, planted_spec(), settings)}
    assert findings["right_reasons"].verdict == "not asked"
    assert "probe_foreground" not in findings["mask_as_code"].details
    # No way of hiding that is named passes through this network.
    assert findings["sufficiency"].verdict == findings["completeness"].verdict == "not asked"
    assert findings["sufficiency"].to_dict()["number"]["value"] is None


def test_few_images_are_a_sentence_and_not_a_number() -> None:
    batch = select(planted_images(3), torch.tensor([1]))
    findings = audit_network(Honest(), batch, planted_spec(), AuditSettings(hiding=("grey",), resamples=10))
    assert [finding.verdict for finding in findings[:2]] == ["not asked", "not asked"]


class ShowsEverything(Honest):
    """Its masks have not closed yet, as early in a training."""

    def select(self, images: Tensor) -> Tensor:
        return torch.ones_like(super().select(images))


def test_masks_that_hide_nothing_are_neither_sealed_nor_sufficient() -> None:
    settings = AuditSettings(hiding=("grey",), resamples=10)
    findings = {f.part: f for f in audit_network(ShowsEverything(), planted_images(12), planted_spec(), settings)}
    for part in ("hidden_influence", "sufficiency", "completeness"):
        assert findings[part].verdict == "not asked"
        assert findings[part].sentence == "Not asked: every mask shows the whole image, so that nothing is hidden."
    assert "100 % of the masks are full and hide nothing" in findings["mask_as_code"].sentence


class FullButForRed(IgnoresItsMask):
    """Shows the whole of all images but the red ones, and decides by everything."""

    def select(self, images: Tensor) -> Tensor:
        red = images.mean(dim=(2, 3)).argmax(dim=1) == 0
        return torch.where(red[:, None, None, None], super().select(images), 1.0)


class EmptyButForRed(Honest):
    """Shows nothing of all images but the red ones."""

    def select(self, images: Tensor) -> Tensor:
        red = images.mean(dim=(2, 3)).argmax(dim=1) == 0
        return torch.where(red[:, None, None, None], super().select(images), 0.0)


def test_images_of_which_nothing_is_hidden_are_no_evidence_for_the_network() -> None:
    settings = AuditSettings(hiding=("grey",), resamples=10)
    findings = {f.part: f for f in audit_network(FullButForRed(), planted_images(30), planted_spec(), settings)}
    hidden = findings["hidden_influence"]
    assert (hidden.number.value, hidden.number.n, hidden.control.n) == (1, 10, 30)
    assert findings["sufficiency"].number.n == findings["completeness"].number.n == 10


def test_masks_that_show_nothing_are_not_stable_by_that() -> None:
    settings = AuditSettings(hiding=("grey",), resamples=10)
    findings = {f.part: f for f in audit_network(EmptyButForRed(), planted_images(30), planted_spec(), settings)}
    assert findings["stability"].number.n == 10
    assert (findings["hidden_influence"].number.n, findings["hidden_influence"].control.n) == (30, 10)
    assert (findings["sufficiency"].number.n, findings["completeness"].number.n) == (30, 10)


class Elsewhere(Honest):
    """An honest network whose mask lies one cell further right."""

    def select(self, images: Tensor) -> Tensor:
        return super().select(images).roll(1, dims=-1)


def test_masks_of_several_networks_are_compared_pair_by_pair() -> None:
    batch = planted_images(20)
    asked = [Questioning(network, batch) for network in (Honest(), Honest(), Elsewhere())]
    finding = between_networks(asked, Resampling(50, 0), 0)
    assert finding.details["pair_1_2_mask_iou"].value == 1
    # Two of four columns of cells overlap, of six in all.
    assert finding.details["pair_1_3_mask_iou"].value == pytest.approx(1 / 3, abs=0.05)
    with pytest.raises(ValueError, match="one alone"):
        between_networks(asked[:1], Resampling(50, 0), 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"threshold": 1.0}, "threshold is 1.0; it has to lie between 0 and 1"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"attribution": "grad_cm"}, "did you mean 'grad_cam'"),
        ({"hiding": ["gray"]}, "there is no way of hiding called 'gray'"),
        ({"resamples": 0}, "resamples is 0; it has to be at least 1"),
        ({"images": 0}, "images is 0"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Audit(**arguments)  # type: ignore[arg-type]


def test_a_network_that_shows_nothing_is_refused() -> None:
    class Silent(Honest):
        masked_stages = 0

        def forward(self, images: Tensor, masks: object = None) -> Prediction:
            return Prediction(super().forward(images).logits)

    with pytest.raises(ValueError, match="there is nothing to audit"):
        Questioning(Silent(), planted_images(4), OWN)
