"""InputMasked: an ERM that sees, in evaluation, nothing of the region that is hidden."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.masking.inputs import Grey, LayerMasking
from maskexp.methods import ERM, InputMasked
from maskexp.types import Batch

SMALL = {"backbone": "small_convnet", "weights": None}


@pytest.fixture
def batch(birds: SyntheticBirds) -> Batch:
    return birds.fetch("test", range(6))


def built(birds: SyntheticBirds, **arguments: str) -> InputMasked:
    torch.manual_seed(0)
    method = InputMasked(**arguments, **SMALL)  # type: ignore[arg-type]
    method.build(birds.spec)
    return method.eval()


@pytest.mark.parametrize("hidden", ["background", "foreground"])
def test_what_is_hidden_does_not_matter_and_what_is_visible_does(
    birds: SyntheticBirds, batch: Batch, hidden: str
) -> None:
    method, images = built(birds, hidden=hidden), batch["image"]
    logits = method.explain_batch(batch).logits
    inside = batch["foreground"] if hidden == "foreground" else ~batch["foreground"]
    for region, same in ((inside, True), (~inside, False)):
        changed: Batch = {**batch, "image": torch.where(region, 1 - images, images)}
        assert torch.equal(method.explain_batch(changed).logits, logits) is same


def test_the_prediction_is_that_of_the_way_of_hiding(birds: SyntheticBirds, batch: Batch) -> None:
    for name, hiding in (("layer", LayerMasking()), ("grey", Grey())):
        method = built(birds, hiding=name)
        prediction = method.explain_batch(batch)
        expected = hiding(method.network, batch["image"], batch["foreground"])
        assert torch.equal(prediction.logits, expected.logits)
        assert prediction.attribution is not None
        assert torch.equal(prediction.attribution, prediction.attributions["grad_cam"])


def test_training_sees_whole_images_and_gives_the_weights_of_erm(
    birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    states, localized = [], []
    for method in (ERM(**SMALL), InputMasked(hiding="grey", hidden="foreground", **SMALL)):
        torch.manual_seed(0)
        run = trainer()
        run.fit(method, birds)
        states.append(method.state_dict())
        localized.append(run.callback_metrics["val/epg"].item())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert localized[0] != localized[1]  # validation has seen other images


def test_a_image_without_foreground_is_named(birds: SyntheticBirds, batch: Batch) -> None:
    batch["has_foreground"][4] = False
    with pytest.raises(ValueError, match="images in rows 4 of the split have no foreground"):
        built(birds).explain_batch(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hiding": "gray"}, "no way of hiding called 'gray'"),
        ({"hidden": "bird"}, "hide the background or the foreground"),
        ({"hiding": "token_dropping"}, "leaves no map of features"),
    ],
)
def test_unknown_arguments_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputMasked(**arguments, **SMALL)  # type: ignore[arg-type]
