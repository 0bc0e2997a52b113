"""Token dropping: hidden patches are left out, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torchvision.models import VisionTransformer as TorchvisionTransformer

from maskexp.masking.inputs import TokenDropping
from maskexp.models import Classifier
from maskexp.types import Prediction
from tests.masking.inputs.networks import logits

PATCH, SIZE = 16, 64

_SMALL = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _torchvision() -> nn.Module:
    network = TorchvisionTransformer(SIZE, PATCH, 2, 2, 32, 64, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "class token": partial(VisionTransformer, **_SMALL),
    "four registers": partial(VisionTransformer, reg_tokens=4, **_SMALL),
    "average": partial(VisionTransformer, global_pool="avg", class_token=False, **_SMALL),
    "distilled": partial(
        timm.create_model, "deit_tiny_distilled_patch16_224", img_size=SIZE, embed_dim=48, depth=2, num_classes=5
    ),
    "torchvision": _torchvision,
    "our classifier": partial(Classifier, "test_vit", 5, None, (SIZE, SIZE)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def _case() -> tuple[Tensor, Tensor]:
    """Return three images that keep 16, 7 and 7 of 16 patches, the last one some of them in part."""
    patches = torch.ones(3, 4, 4, dtype=torch.bool)
    patches[1, :2] = False
    patches[1, 3, 3] = False
    patches[2, :, 1:3] = False
    patches[2, 0, 0] = False
    visible = patches.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
    visible[2, :, 16:30, :3] = False
    return torch.rand(3, 3, SIZE, SIZE), visible


@every_network
def test_everything_visible_is_the_plain_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    images, visible = _case()
    assert torch.equal(logits(TokenDropping()(network, images, visible | True)), logits(network(images)))


@every_network
def test_what_is_hidden_does_not_matter_and_what_is_visible_does(name: str) -> None:
    network = NETWORKS[name]().eval()
    images, visible = _case()
    outputs = [
        logits(TokenDropping()(network, torch.where(visible, images, other), visible))
        for other in (torch.tensor(0.0), torch.tensor(torch.nan))
    ]
    assert torch.equal(outputs[0], outputs[1])
    other = logits(TokenDropping()(network, images.flip(1), visible))
    assert ((outputs[0] - other).abs().amax(dim=1) > 1e-5).all()
    assert not torch.allclose(outputs[0][1:], logits(network(images))[1:], atol=1e-5)


@every_network
def test_images_come_back_in_order(name: str) -> None:
    network = NETWORKS[name]().eval()
    images, visible = _case()
    order = [2, 0, 1]
    together = logits(TokenDropping()(network, images, visible))
    for row in range(3):
        alone = logits(TokenDropping()(network, images[row : row + 1], visible[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)
    turned = logits(TokenDropping()(network, images[order], visible[order]))
    torch.testing.assert_close(turned, together[order], rtol=1e-4, atol=1e-5)


def test_blocks_see_the_tokens_that_are_left() -> None:
    network = VisionTransformer(**_SMALL).eval()  # type: ignore[arg-type]
    images, visible = _case()
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images[1:2])
    TokenDropping()(network, images[1:2], visible[1:2])
    whole, left = seen
    assert left.shape == (1, 1 + 7, 32)
    torch.testing.assert_close(left, whole[:, [0, *range(9, 16)]])
    assert not network.patch_drop._forward_hooks


def test_nothing_visible_leaves_the_class_token_alone() -> None:
    network = VisionTransformer(**_SMALL).eval()  # type: ignore[arg-type]
    images, visible = _case()
    nothing = TokenDropping()(network, images, visible & False)
    assert nothing.isfinite().all()
    torch.testing.assert_close(nothing, nothing[:1].expand(3, -1))


def test_a_prediction_holds_logits_alone() -> None:
    prediction = TokenDropping()(NETWORKS["our classifier"]().eval(), *_case())
    assert isinstance(prediction, Prediction)
    assert prediction.logits.shape == (3, 5)
    assert prediction.features is None


def test_what_cannot_be_done_is_refused() -> None:
    images, visible = _case()
    with pytest.raises(ValueError, match=r"one vision transformer.*Conv2d has 0.*LayerMasking in a CNN"):
        TokenDropping()(nn.Conv2d(3, 4, 3).eval(), images, visible)
    with pytest.raises(ValueError, match="network is in training mode"):
        TokenDropping()(NETWORKS["class token"](), images, visible)
    with pytest.raises(ValueError, match=r"\(64, 60\) are no whole number of \(16, 16\) patches"):
        TokenDropping()(NETWORKS["class token"]().eval(), images[..., :60], visible[..., :60])
    visible[1] = False
    with pytest.raises(ValueError, match="image 1 of the batch has no visible patch"):
        TokenDropping()(NETWORKS["average"]().eval(), images, visible)
