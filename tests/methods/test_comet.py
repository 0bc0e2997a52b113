"""COMET's objective (Eq. 7; the released hinge) by hand, one backward pass against two, and two ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn

from maskexp.data import SyntheticBirds
from maskexp.methods import COMET, ERM, load_method
from maskexp.methods.comet import area_excess
from maskexp.models import COMETNetwork
from maskexp.types import Batch, DataSpec, Prediction
from tests.distributed import run_ranks

SMALL: dict[str, Any] = {"backbone": "small_convnet", "selector": "small_convnet", "selector_stride": 4}
SPEC = DataSpec("toy", "x", ("a", "b", "c", "d"), (), (), (32, 32), (), "none")


def hand_made_prediction(requires_grad: bool = False) -> Prediction:
    """Logits and masks made by hand."""
    mask = torch.stack([torch.full((1, 4, 4), 0.5), torch.full((1, 4, 4), 0.05)]).requires_grad_(requires_grad)
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0]])
    detected = torch.tensor([[0.5, 0, 0], [0, 0, 2]])
    extras: dict[str, Any] = {"kept": mask * 1, "left": 1 - mask, "detector_logits": detected}
    return Prediction(logits, {"own": mask}, masks=(mask,), extras=extras)


LABELS: Batch = {"label": torch.tensor([0, 1])}  # type: ignore[typeddict-item]


def test_area_is_a_hinge_for_each_image() -> None:
    (mask,) = hand_made_prediction().masks
    assert area_excess(mask, 0.1).item() == pytest.approx(0.2)  # and not the 0.175 of the batch's mean area
    assert area_excess(mask, 0.6).item() == 0
    wide = torch.cat([torch.ones(1, 1, 6, 2), torch.zeros(1, 1, 6, 2)], dim=3)
    assert area_excess(wide, 0.25).item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 12.810691),
        ({"objective": "hinge", "detector_weight": 4.0, "gap": 2.0, "area_budget": 0.6}, 3.909631),
        ({"objective": "hinge", "detector_weight": 1.0, "gap": 1.0, "area_budget": 0.2}, 15.395495),
    ],
    ids=["paper", "hinge", "inactive hinge"],
)
def test_objective_has_the_values_of_equation_7_by_hand(arguments: dict[str, Any], expected: float) -> None:
    terms = COMET(**SMALL, **arguments).objective(hand_made_prediction(), LABELS)
    assert terms["loss_predictor"].item() == pytest.approx(0.395495, abs=1e-6)
    assert sum(term.item() for term in terms.values()) == pytest.approx(expected, abs=1e-5)


def test_what_is_logged_beside_the_terms() -> None:
    prediction = hand_made_prediction()
    method = COMET(**SMALL, objective="hinge", detector_weight=4.0, gap=2.0, area_budget=0.6)
    method.objective(prediction, LABELS)
    values = method.monitor(prediction, LABELS)
    assert values["ce_detector"].item() == pytest.approx(1.516961, abs=1e-6)
    assert values["acc_detector"].item() == 0.5
    assert values["hinge_active"].item() == 1
    assert values["area_excess"].item() == 0
    assert "hinge_active" not in COMET(**SMALL).monitor(hand_made_prediction(), LABELS)


# --- one backward pass -----------------------------------------------------------------------------------------------


def built(seed: int = 0, **arguments: Any) -> COMET:
    """Return COMET with random networks in training mode, batch norms in evaluation: no statistics of the batch."""
    torch.manual_seed(seed)
    method = COMET(**{**SMALL, "area_budget": 0.3, **arguments})
    method.build(SPEC)
    method.train()
    for module in method.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return method


def batch_of(size: int) -> Batch:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(size, 3, 32, 32, generator=generator)
    return {"image": image, "label": torch.randint(0, 4, (size,), generator=generator)}  # type: ignore[typeddict-item]


def gradients(method: COMET, batch: Batch) -> dict[str, Tensor]:
    method.zero_grad()
    torch.stack(list(method.objective(method(batch["image"]), batch).values())).sum().backward()
    return {name: p.grad.clone() for name, p in method.network.named_parameters() if p.grad is not None}


def reference(method: COMET, batch: Batch) -> dict[str, Tensor]:
    """Differentiate what each network minimises by itself, as the released code does with two backward passes."""
    network, label = method.network, batch["label"]
    assert isinstance(network, COMETNetwork)
    prediction = network(batch["image"])
    loss_p = F.cross_entropy(prediction.logits, label)
    loss_d = F.cross_entropy(prediction.extras["detector_logits"], label)
    area = method.area_weight * (prediction.masks[0].mean((1, 2, 3)) - method.area_budget).relu().mean()
    if method.objective_name == "paper":
        loss_s = loss_p - method.detector_weight * loss_d + area
    else:
        loss_s = loss_p + method.detector_weight * (loss_p - loss_d + method.gap).relu() + area
    result = {}
    for part, loss in (("selector", loss_s), ("predictor", loss_p), ("detector", loss_d)):
        named = [(n, p) for n, p in network.named_parameters() if n.startswith(f"{part}.") and p.requires_grad]
        if named:
            found = torch.autograd.grad(loss, [p for _, p in named], retain_graph=True)
            result |= {name: gradient for (name, _), gradient in zip(named, found, strict=True)}
    return result


@pytest.mark.parametrize("detector", ["fixed", "trainable", "none"])
@pytest.mark.parametrize(
    "objective", [{}, {"objective": "hinge", "gap": 1.3}, {"objective": "hinge", "gap": 0.0}], ids=str
)
@pytest.mark.parametrize("predictor", ["train", "fixed"])
def test_one_backward_pass_gives_each_network_its_own_gradient(
    detector: str, objective: dict[str, Any], predictor: str
) -> None:
    method, batch = built(detector=detector, predictor=predictor, **objective), batch_of(8)
    expected, got = reference(method, batch), gradients(method, batch)
    assert got.keys() == expected.keys()
    assert {name.partition(".")[0] for name in got} == {"selector"} | (
        {"predictor"} if predictor == "train" else set()
    ) | ({"detector"} if detector == "trainable" else set())
    for name, gradient in got.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-6), name


def test_the_predictor_gets_the_gradient_of_its_own_loss_alone() -> None:
    method, batch = built(), batch_of(8)
    got = gradients(method, batch)
    method.zero_grad()
    F.cross_entropy(method(batch["image"]).logits, batch["label"]).backward()
    for name, parameter in method.network.named_parameters():
        if name.startswith("predictor."):
            assert parameter.grad is not None
            assert torch.allclose(parameter.grad, got[name], atol=1e-7)


def biased(arguments: dict[str, Any]) -> COMET:
    """Return COMET with a detector that believes in the first class, so that margins are negative and differ."""
    method = built(**arguments)
    network = method.network
    assert isinstance(network, COMETNetwork)
    if network.detector is not None:
        network.detector.network.head.bias.data[0] += 4.0
    return method


def rank_gradients(rank: int, world_size: int, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each case, the gradients that DDP leaves on this rank for its share of a batch of 8."""
    results = []
    for arguments in cases:
        method, whole = biased(arguments), batch_of(8)
        share: Batch = {key: value[rank::world_size] for key, value in whole.items()}  # type: ignore[assignment, index]
        wrapped = nn.parallel.DistributedDataParallel(method.network)
        prediction = wrapped(share["image"])
        torch.stack(list(method.objective(prediction, share).values())).sum().backward()
        results.append({n: p.grad.tolist() for n, p in method.network.named_parameters() if p.grad is not None})
    return results


def gaps_that_divide_the_ranks(detector: str) -> tuple[float, float]:
    """Return a gap with which the hinge rests and one with which it is active, where one rank alone would differ."""
    method, whole = biased({"detector": detector}), batch_of(8)
    margins = []
    with torch.no_grad():
        for rows in (slice(0, 8, 2), slice(1, 8, 2), slice(0, 8)):
            prediction, label = method(whole["image"][rows]), whole["label"][rows]
            loss_d = F.cross_entropy(prediction.extras["detector_logits"], label)
            margins.append(float(F.cross_entropy(prediction.logits, label) - loss_d))
    one, two, both = margins
    rests, active = -(both + max(one, two)) / 2, -(both + min(one, two)) / 2
    assert both + rests < 0 < max(one, two) + rests
    assert min(one, two) + active < 0 < both + active
    assert rests > 0
    return rests, active


@pytest.mark.slow
def test_two_ranks_get_the_gradients_of_one_process_with_both_batches() -> None:
    kinds: list[dict[str, Any]] = [{"detector": kind} for kind in ("fixed", "trainable", "none")]
    cases = [*kinds, {"detector": "none", "objective": "hinge", "gap": 0.5}]
    for kind in kinds[:2]:
        cases += [{**kind, "objective": "hinge", "gap": gap} for gap in gaps_that_divide_the_ranks(kind["detector"])]
    expected = [gradients(biased(arguments), batch_of(8)) for arguments in cases]
    for found in run_ranks(rank_gradients, 2, cases):
        for arguments, ours, theirs in zip(cases, found, expected, strict=True):
            assert ours.keys() == theirs.keys()
            for name, gradient in theirs.items():
                assert torch.allclose(torch.tensor(ours[name]), gradient, rtol=1e-4, atol=1e-5), (arguments, name)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector(birds: SyntheticBirds, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checkpoint of an ERM on the birds."""
    path = tmp_path_factory.mktemp("detector") / "erm.ckpt"
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "enable_checkpointing": False,
    }
    run = Trainer(max_epochs=1, accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet)  # type: ignore[arg-type]
    run.fit(ERM(backbone="small_convnet", weights=None), birds)
    run.save_checkpoint(path)
    return str(path)


def test_a_training_reports_and_the_detector_stays(
    detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run, method = trainer(), COMET(**SMALL, detector_checkpoint=detector)
    run.fit(method, birds)
    logged = {
        f"train/{name}" for name in ("loss", "loss_predictor", "loss_detector", "loss_area", "acc", "ce_detector")
    }
    logged |= {"train/acc_detector", "train/mask_area_stage_1", "val/acc", "val/pxap", "val/epg", "val/mask_area"}
    assert logged <= set(run.callback_metrics)
    network, trained = method.network, load_method(detector).network
    assert isinstance(network, COMETNetwork)
    assert network.detector is not None
    for name, value in trained.state_dict().items():
        assert torch.equal(network.detector.state_dict()[name], value)
        assert network.predictor.state_dict()[name].shape == value.shape
    run.test(method, birds, verbose=False)


def test_a_checkpoint_is_enough_by_itself(
    detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Any
) -> None:
    run, method = trainer(), COMET(**SMALL, detector_checkpoint=detector, objective="hinge", gap=0.5, hiding="blur")
    run.fit(method, birds)
    run.save_checkpoint(tmp_path / "comet.ckpt")
    again = load_method(tmp_path / "comet.ckpt")
    assert isinstance(again, COMET)
    assert (again.objective_name, again.gap) == ("hinge", 0.5)
    images = birds.fetch("test", [0, 1])["image"]
    method.eval()
    with torch.no_grad():
        assert torch.equal(again(images).attribution, method(images).attribution)
        assert torch.equal(again(images).logits, method(images).logits)
    for name, value in method.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), "the detector lies in the checkpoint, too"


@pytest.mark.parametrize(
    "variant",
    [
        {"detector": "trainable"},
        {"detector": "none"},
        {"detector": "none", "predictor": "fixed"},
        {"hiding": "layer"},
        {"hiding": "layer", "detector": "none"},
        {"hiding": "noise", "detector_bn": "batch"},
    ],
    ids=str,
)
def test_every_variant_trains(
    variant: dict[str, Any], detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    method = COMET(**SMALL, **variant)
    if method.begins_pretrained:
        method = COMET(**SMALL, **variant, detector_checkpoint=detector)
        assert method.pretraining(birds.spec) is None
    run = trainer()
    run.fit(method, birds)
    assert math.isfinite(run.callback_metrics["train/loss"])
    assert 0 <= run.callback_metrics["val/mask_area"] <= 1


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_other_precisions(
    precision: str, detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    run, method = trainer(precision=precision), COMET(**SMALL, detector_checkpoint=detector)
    run.fit(method, birds)
    assert torch.isfinite(run.callback_metrics["train/loss"])
    assert run.callback_metrics["train/loss"].dtype is torch.float32


def test_cross_entropies_and_area_are_computed_in_full_precision() -> None:
    prediction = hand_made_prediction()
    prediction.logits = prediction.logits.half()
    with torch.autocast("cpu", torch.bfloat16):
        terms = COMET(**SMALL).objective(prediction, LABELS)
    assert all(term.dtype is torch.float32 for term in terms.values())
    assert sum(term.item() for term in terms.values()) == pytest.approx(12.810691, abs=1e-5)


# --- what begins as a trained classifier -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "needed"),
    [
        ({}, True),
        ({"detector": "trainable"}, False),
        ({"detector": "none"}, False),
        ({"detector": "none", "predictor": "fixed"}, True),
        ({"detector": "none", "hiding": "layer"}, True),
    ],
    ids=str,
)
def test_only_variants_that_need_a_classifier_ask_for_one(variant: dict[str, Any], needed: bool) -> None:
    asked = COMET(**SMALL, **variant, lr=1e-3, detector_epochs=7).pretraining(SPEC)
    assert (asked is not None) == needed
    if asked is not None:
        assert (asked.role, asked.method, asked.epochs, asked.checkpoint_argument) == (
            "detector",
            "ERM",
            7,
            "detector_checkpoint",
        )
        assert asked.arguments["lr"] == 1e-3
        assert ERM(**asked.arguments).backbone == "small_convnet"


def test_fixed_parts_and_parts_under_layer_masking_begin_as_the_classifier(
    detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    method = COMET(**SMALL, hiding="layer", detector_checkpoint=detector, lr=0.0, backbone_lr=0.0)
    trainer().fit(method, birds)
    trained = load_method(detector).network.state_dict()
    network = method.network
    assert isinstance(network, COMETNetwork)
    assert len(network.begin_pretrained) == 2
    for part in network.begin_pretrained:
        assert all(torch.equal(value, trained[name]) for name, value in part.state_dict().items())


def test_a_detector_is_needed(birds: SyntheticBirds, trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(ValueError, match="give detector_checkpoint"):
        trainer().fit(COMET(**SMALL), birds)


def test_a_checkpoint_that_does_not_fit_is_refused(
    detector: str, birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Any
) -> None:
    with pytest.raises(ValueError, match="holds a small_convnet, but the detector of COMET is a test_resnet"):
        trainer().fit(COMET(**SMALL, detector_backbone="test_resnet", detector_checkpoint=detector), birds)
    run = trainer()
    run.fit(COMET(**SMALL, detector="none"), birds)
    run.save_checkpoint(tmp_path / "comet.ckpt")
    with pytest.raises(ValueError, match="holds the method COMET; COMET needs a detector of ERM"):
        trainer().fit(COMET(**SMALL, detector_checkpoint=str(tmp_path / "comet.ckpt")), birds)


@pytest.mark.parametrize(("t", "shown"), [(0.0, "0.0"), (1.0, "1.0"), (-1.0, "-1.0")])
def test_impossible_area_is_refused(t: float, shown: str) -> None:
    with pytest.raises(ValueError, match=rf"t is {shown}; .* must lie in \(0, 1\)"):
        COMET(**SMALL, area_budget=t)


def test_other_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="detector_weight is -1"):
        COMET(**SMALL, detector_weight=-1)
    with pytest.raises(ValueError, match="nothing starts from a pre-trained classifier"):
        COMET(**SMALL, detector="trainable", detector_checkpoint="x.ckpt")


def test_a_gap_beyond_chance_is_refused() -> None:
    method = COMET(**SMALL, objective="hinge", gap=1.4)
    with pytest.raises(ValueError, match=r"among 4 classes has a loss of ln 4 = 1\.386; choose a smaller --model\.gap"):
        method.pretraining(SPEC)
    assert COMET(**SMALL, gap=1.4).pretraining(SPEC) is not None, "the paper's objective has no gap"
