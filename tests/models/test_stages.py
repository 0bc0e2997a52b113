"""Stepping through a backbone: every kind of stage, and networks that cannot be stepped through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.models.stages import SteppedBackbone

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
STEPPABLE = [
    ("small_convnet", 4),
    ("test_resnet", 4),
    ("test_convnext", 4),
    ("test_efficientnet", 5),
    ("test_byobnet", 3),
    ("regnetx_002", 4),
    ("mobilenetv3_small_050", 5),
    pytest.param("densenet121", 4, marks=pytest.mark.slow),
    pytest.param("resnet50_v1", 4, marks=pytest.mark.slow),
    pytest.param("swin_tiny_patch4_window7_224", 4, marks=pytest.mark.slow),
]


def backbone(name: str, stages: int) -> SteppedBackbone:
    torch.manual_seed(0)
    return SteppedBackbone(name, stages, weights=None, image_size=(64, 64)).eval()


@pytest.mark.parametrize(("name", "stages"), STEPPABLE)
def test_changing_nothing_changes_nothing(name: str, stages: int) -> None:
    network, seen = backbone(name, stages), list[tuple[int, int]]()

    def keep(stage: int, features: Tensor) -> Tensor:
        seen.append((stage, features.shape[1]))
        return features * 1

    plain = network(IMAGES)
    assert all(map(torch.equal, network(IMAGES, keep), plain))
    assert seen == list(enumerate(network.channels))


@pytest.mark.parametrize(("name", "stages"), STEPPABLE)
def test_a_stage_is_fed_what_the_stage_before_became(name: str, stages: int) -> None:
    network, other = backbone(name, stages), IMAGES.flip(3) * 0.5
    for hidden in range(stages - 1):

        def hide(stage: int, features: Tensor, hidden: int = hidden) -> Tensor:
            return torch.zeros_like(features) if stage == hidden else features

        first, second = network(IMAGES, hide), network(other, hide)
        assert not torch.equal(network(IMAGES)[-1], first[-1])
        assert all(map(torch.equal, first[hidden:], second[hidden:]))


def test_hooks_are_gone_after_an_error() -> None:
    network = backbone("test_resnet", 2)

    def fail(stage: int, features: Tensor) -> Tensor:
        raise KeyError(stage)

    with pytest.raises(KeyError):
        network(IMAGES, fail)
    assert all(map(torch.equal, network(IMAGES), backbone("test_resnet", 2)(IMAGES)))


@pytest.mark.parametrize("name", ["test_vit", "hrnet_w18_small"])
def test_stages_that_do_not_follow_each_other_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the last 2 stages of '{name}' cannot be masked one by one"):
        backbone(name, 2)


def test_looking_for_the_stages_leaves_mode_and_statistics_alone() -> None:
    network = SteppedBackbone("test_resnet", 2, weights=None, image_size=(64, 64))
    assert network.training
    assert not network.network.bn1.running_mean.any()  # type: ignore[union-attr, operator]
    frozen = SteppedBackbone("test_resnet", 2, weights=None, image_size=(64, 64), frozen=True).train()
    assert not frozen.training
