"""Batches that fit, reports of how far a map is, and logits of whatever a network returns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskexp.attribution import attribution_map, report_progress
from maskexp.attribution.forward import in_batches, logits_of, resolved_hiding
from maskexp.masking.inputs import Black, Colour
from maskexp.types import Prediction
from tests.attribution.references import small_network

IMAGES = torch.zeros(1, 3, 112, 112)


def test_ranges_are_halved_until_they_fit_and_the_size_is_remembered() -> None:
    network, done, tried = nn.Identity(), [], []

    def run(start: int, stop: int) -> None:
        tried.append(stop - start)
        if stop - start > 5:
            raise torch.OutOfMemoryError
        done.extend(range(start, stop))

    in_batches(run, 30, network, IMAGES, None, "map")
    assert done == list(range(30))
    assert tried == [30, 15, 7, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    tried.clear()
    in_batches(run, 6, network, IMAGES, None, "map")
    assert tried == [3, 3]


def test_memory_that_does_not_suffice_for_one_pass_is_said() -> None:
    def run(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(run, 3, nn.Identity(), IMAGES, 2, "map")


def test_a_map_tells_how_far_it_is() -> None:
    network, images, target = small_network()
    told: list[tuple[str, int, int]] = []
    with report_progress(lambda *report: told.append(report)):
        attribution_map("rise:masks=10:batch_size=8")(network, images, target)
    attribution_map("rise:masks=3")(network, images, target)
    assert told == [("rise", 8, 20), ("rise", 16, 20), ("rise", 20, 20)]


class WithoutParameters(nn.Module):
    """Returns what it is made with."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> object:
        return self.output


def test_logits_of_predictions_and_of_tensors_and_of_nothing_else() -> None:
    logits = torch.rand(2, 3, dtype=torch.bfloat16)
    assert torch.equal(logits_of(Prediction(logits)), logits.float())
    assert torch.equal(logits_of(logits), logits.float())
    with pytest.raises(ValueError, match=r"the network returns \(2,\); a classifier returns logits"):
        logits_of(torch.rand(2))
    with pytest.raises(ValueError, match="the network returns dict"):
        attribution_map("input_x_gradient")(WithoutParameters({}), torch.rand(1, 3, 4, 4), torch.tensor([0]))


def test_what_a_network_normalises_to_0_is_hidden_in() -> None:
    network, images, _ = small_network()
    found = resolved_hiding(None, network, images)
    assert isinstance(found, Colour)
    torch.testing.assert_close(torch.tensor(found.colour), network.normalize.mean.flatten())
    assert resolved_hiding(None, network.network, images) == Colour((0.0, 0.0, 0.0))
    assert resolved_hiding(Black(), network, images) == Black()


@pytest.mark.parametrize(
    "name", ["grad_cam", "score_cam", "occlusion:window=64:stride=64", "rise:masks=40", "smooth_grad:samples=4"]
)
def test_a_network_in_bfloat16_has_nearly_the_same_maps(name: str) -> None:
    network, images, target = small_network()
    expected = attribution_map(name)(network, images, target)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = attribution_map(name)(network, images.clone(), target.clone(), network(images).features)
    assert found.dtype == torch.float32
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("name", ["score_cam", "rise:masks=40", "lime:samples=30"])
def test_the_precision_of_a_map_is_that_of_the_network_alone(name: str) -> None:
    network, images, target = small_network()
    seen: list[torch.dtype] = []
    hook = network.network.layer4.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    expected = attribution_map(name)(network, images, target)
    assert set(seen) == {torch.float32}
    seen.clear()
    found = attribution_map(f"{name}:precision=bf16")(network, images, target)
    assert torch.bfloat16 in seen
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.9
    seen.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network(images).features
        seen.clear()
        inside = attribution_map(f"{name}:precision=fp32")(network, images, target, features)
    assert set(seen) == {torch.float32}
    hook.remove()
    if name != "score_cam":  # its masks are the features, which were bfloat16
        torch.testing.assert_close(inside, expected, atol=1e-4, rtol=1e-3)


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the setting precision of the map rise is 'bf8'; choose bf16 or fp32"):
        attribution_map("rise:precision=bf8")
    with pytest.raises(ValueError, match="the map occlusion has no setting 'precision'"):
        attribution_map("occlusion:precision=bf16")
