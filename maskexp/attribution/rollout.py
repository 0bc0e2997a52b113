"""Attention rollout: where the tokens that a vision transformer decides from have gathered what they know."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maskexp.attribution.registry import register_attribution

__all__ = ["attention_rollout"]


def check_transformer(network: Any, **_: Any) -> None:
    """Refuse a network that is no vision transformer with attention over all of its tokens.

    Raises:
        ValueError: if so.
    """
    _transformer(network)


@register_attribution("attention_rollout", title="attention rollout", scale="min_max", check=check_transformer)
def attention_rollout(network: Any, images: Tensor, target: Tensor, features: Tensor | None = None) -> Tensor:
    r"""Return the product of all blocks' attention: the mean of the heads, mixed half and half with the identity.

    It is the same for every class.

    Args:
        network: a vision transformer of timm, or a network that has one, in evaluation mode.
        images: ``(B, C, H, W)`` float, as the network takes them.
        target: not used.
        features: not used.

    Returns:
        ``(B, 1, h, w)`` float32, the share that each patch has in the class token, or in the mean of the patches
        where the head reads these.

    Raises:
        ValueError: if the network is no such transformer.

    Source:
        Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 4.1.
    """
    transformer = _transformer(network)
    attentions = [block.attn for block in transformer.blocks]
    fused = [attention.fused_attn for attention in attentions]
    rollout: list[Tensor] = []

    def follow(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        attention = inputs[0].float().mean(dim=1)
        mixed = (attention + torch.eye(attention.shape[-1], device=attention.device)) / 2
        rollout[:] = [mixed @ rollout[0] if rollout else mixed]

    hooks = [attention.attn_drop.register_forward_pre_hook(follow) for attention in attentions]
    try:
        for attention in attentions:
            attention.fused_attn = False  # the fused kernel never holds the attention that is asked for
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
        for attention, before in zip(attentions, fused, strict=True):
            attention.fused_attn = before
    prefix = transformer.num_prefix_tokens
    readers = slice(0, 1) if transformer.global_pool == "token" else slice(prefix, None)
    share = rollout[0][:, readers, prefix:].mean(dim=1)
    return share.reshape(len(images), 1, *transformer.patch_embed.grid_size)


def _transformer(network: Any) -> Any:
    for module in network.modules():
        parts = ("blocks", "num_prefix_tokens", "global_pool", "patch_embed")
        if all(hasattr(module, part) for part in parts):
            attentions = [getattr(block, "attn", None) for block in module.blocks]
            if all(hasattr(each, "attn_drop") and hasattr(each, "fused_attn") for each in attentions):
                return module
    raise ValueError(
        f"attention_rollout follows the attention of a vision transformer, and {type(network).__name__} is none with "
        "attention over all of its tokens; choose another map, such as grad_cam"
    )
