"""Attention rollout against a loop over blocks, heads and tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskexp.attribution import attention_rollout
from maskexp.models import Classifier


def transformer(name: str = "test_vit") -> tuple[Classifier, Tensor, Tensor]:
    torch.manual_seed(0)
    network = Classifier(name, num_classes=3, weights=None, image_size=(64, 64)).eval()
    return network, torch.rand(2, 3, 64, 64), torch.tensor([0, 2])


def attention_by_hand(network: Classifier, images: Tensor) -> Tensor:
    """Return the product over the blocks, from the weights of queries and keys."""
    vit = network.network
    with torch.no_grad():
        tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(network.normalize(images)))))
        product = torch.eye(tokens.shape[1]).expand(len(images), -1, -1)
        for block in vit.blocks:
            attention, given = block.attn, block.norm1(tokens)
            query, key, _ = attention.qkv(given).chunk(3, dim=-1)
            heads = torch.zeros_like(product)
            for head in range(attention.num_heads):
                part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
                scores = attention.q_norm(query[..., part]) @ attention.k_norm(key[..., part]).mT
                heads = heads + (scores * attention.scale).softmax(dim=-1) / attention.num_heads
            product = (0.5 * heads + 0.5 * torch.eye(tokens.shape[1])) @ product
            tokens = block(tokens)
    return product


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "vit_base_patch16_gap_224"])
def test_rollout_by_hand(name: str) -> None:
    """From the class token, from one beside registers, and from the mean of the patches."""
    network, images, target = transformer(name)
    prefix = network.network.num_prefix_tokens
    product = attention_by_hand(network, images)[..., prefix:]
    expected = product[:, 0] if network.network.global_pool == "token" else product[:, prefix:].mean(dim=1)
    found = attention_rollout(network, images, target)
    assert found.shape == (2, 1, *network.network.patch_embed.grid_size)
    torch.testing.assert_close(found.flatten(1), expected, atol=1e-5, rtol=1e-3)


def test_the_transformer_is_left_as_it_was_even_when_it_raises() -> None:
    network, images, target = transformer()
    before = network(images).logits
    attentions = [block.attn for block in network.network.blocks]
    fused = [attention.fused_attn for attention in attentions]
    attention_rollout(network, images, target)
    with pytest.raises(ValueError, match="divide pixels by 255"):
        attention_rollout(network, images.byte(), target)
    assert [attention.fused_attn for attention in attentions] == fused
    assert not any(attention.attn_drop._forward_pre_hooks for attention in attentions)
    assert torch.equal(network(images).logits, before)


@pytest.mark.parametrize("name", ["test_resnet", "swin_tiny_patch4_window7_224"])
def test_networks_without_attention_over_all_tokens_are_refused(name: str) -> None:
    network, images, target = transformer(name)
    with pytest.raises(ValueError, match="Classifier is none with attention over all of its tokens; choose another"):
        attention_rollout(network, images, target)
