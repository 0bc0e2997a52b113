from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskexp.models import Classifier


def classifier(name: str, **arguments: bool) -> Classifier:
    torch.manual_seed(0)
    return Classifier(name, num_classes=3, weights=None, image_size=(64, 64), **arguments)


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "small_convnet"])
def test_logits_are_timms_and_follow_from_the_features(name: str) -> None:
    network = classifier(name).eval()
    prediction = network(IMAGES)

    assert prediction.features is not None
    assert torch.equal(prediction.logits, network.network(network.normalize(IMAGES)))
    assert torch.equal(prediction.logits, network.classify(prediction.features))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "small_convnet"])
def test_a_file_keeps_its_head_for_as_many_classes(name: str, tmp_path: Path) -> None:
    source, file = classifier(name).network, str(tmp_path / "weights.pt")
    torch.save(source.state_dict(), file)
    same, other, hub_s = (Classifier(name, classes, file, (64, 64)).network for classes in (3, 5, 1000))
    assert all(map(torch.equal, same.state_dict().values(), source.state_dict().values()))
    assert (other.get_classifier().out_features, hub_s.get_classifier().out_features) == (5, 1000)
    first = next(iter(source.state_dict()))
    assert torch.equal(other.state_dict()[first], source.state_dict()[first])


def test_each_block_of_a_vision_transformer_runs_once() -> None:
    network = classifier("test_vit")
    calls = [0] * len(network.network.blocks)

    def count(position: int) -> None:
        calls[position] += 1

    for position, block in enumerate(network.network.blocks):
        block.register_forward_hook(lambda *_, position=position: count(position))
    network(IMAGES)

    assert calls == [1] * len(calls)
    assert len(network.network.blocks[-1]._forward_pre_hooks) == 0


def test_gradients_reach_the_tokens_before_the_last_block() -> None:
    prediction = classifier("test_vit")(IMAGES)
    assert prediction.features is not None

    (gradient,) = torch.autograd.grad(prediction.logits.sum(), prediction.features)

    assert gradient.shape == prediction.features.shape
    assert gradient[:, 1:].abs().max() > 0


def test_a_frozen_backbone_trains_only_its_head_and_stays_in_evaluation() -> None:
    network = classifier("test_resnet", frozen_backbone=True).train()

    learned = [name for name, parameter in network.network.named_parameters() if parameter.requires_grad]

    assert learned == ["fc.weight", "fc.bias"]
    assert not network.network.training
