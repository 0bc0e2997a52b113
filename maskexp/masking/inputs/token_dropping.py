"""Token dropping: what layer masking is to a CNN, for a vision transformer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn
from torchvision.models import VisionTransformer as TorchvisionTransformer

from maskexp.masking.inputs.interface import InputMasking, check_evaluation, check_visible
from maskexp.masking.inputs.neighbours import neighbour_padding
from maskexp.types import Prediction


class TokenDropping(InputMasking):
    """Leave out the tokens of hidden patches: a vision transformer decides from the others.

    A patch is left out if none of its pixels is visible, behind the position embedding and before the first block, so
    the others keep their positions. In a patch that is visible in part, hidden pixels take the mean of their visible
    neighbours, as in layer masking (ours; the published experiments hide whole patches only). With everything visible
    the output is bit for bit the plain one.

    Vision transformers of timm and torchvision with plain, non-overlapping patches are supported, alone or inside one
    of our networks. The images of a batch that keep equally many patches run together.

    Returns:
        Logits ``(B, K)``, or a :class:`~maskexp.types.Prediction` with nothing but logits if the network returns one:
        tokens of images that keep different patches do not fit into one tensor.

    Raises:
        ValueError: if the network is no such transformer or is in training mode, the images are no whole number of
            patches, or an image has no visible patch in a network that decides from patches alone.

    Source:
        Jain et al., "Missingness Bias in Model Debugging", ICLR 2022; in Balasubramanian & Feizi, ICCV 2023, it stands
        beside layer masking as the transformers' way.
    """

    def __call__(self, network: nn.Module, images: Tensor, visible: Tensor) -> Any:
        """Run the network on what is visible; see :meth:`InputMasking.__call__`."""
        check_visible(images, visible)
        check_evaluation(network)
        tokens = _find_tokens(network)
        if images.shape[-2] % tokens.patch[0] or images.shape[-1] % tokens.patch[1]:
            raise ValueError(f"images of {tuple(images.shape[-2:])} are no whole number of {tokens.patch} patches")
        shown = neighbour_padding(images, visible, max(tokens.patch) - 1)
        kept = F.max_pool2d(visible.float(), tokens.patch).flatten(1) > 0
        counts = kept.sum(dim=1)
        if tokens.patches_only and not bool(counts.all()):
            raise ValueError(
                f"image {int(counts.argmin())} of the batch has no visible patch, and the network decides from patches "
                "alone; leave fully hidden images out"
            )
        rows, outputs = [], []
        for count in sorted(set(counts.tolist())):
            rows.append((counts == count).nonzero()[:, 0])
            handle = tokens.embedded.register_forward_hook(partial(_drop, kept[rows[-1]], tokens.prefix))
            try:
                outputs.append(network(shown[rows[-1]]))
            finally:
                handle.remove()
        order = torch.cat(rows).argsort()
        if all(isinstance(output, Prediction) for output in outputs):
            return Prediction(logits=torch.cat([output.logits for output in outputs])[order])
        return torch.cat(outputs)[order]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Where the tokens of a transformer can be dropped.

    Attributes:
        embedded: the module that tokens with their position embedding pass through.
        patch: (height, width) of a patch in pixels.
        prefix: tokens before those of the patches.
        patches_only: whether the decision is taken from the patch tokens.
    """

    embedded: nn.Module
    patch: tuple[int, int]
    prefix: int
    patches_only: bool


def _find_tokens(network: nn.Module) -> _Tokens:
    """Find the only vision transformer in a network, or refuse the network."""
    found = [m for m in network.modules() if isinstance(m, VisionTransformer | TorchvisionTransformer)]
    if len(found) != 1:
        raise ValueError(
            f"token dropping needs one vision transformer of timm or torchvision, and {type(network).__name__} has "
            f"{len(found)}; hide the region with LayerMasking in a CNN, or with a colour"
        )
    transformer: Any = found[0]
    if isinstance(transformer, TorchvisionTransformer):
        embedding, embedded, prefix, patches_only = transformer.conv_proj, transformer.encoder.dropout, 1, False
    else:
        embedding, embedded = getattr(transformer.patch_embed, "proj", None), transformer.patch_drop
        prefix, patches_only = transformer.num_prefix_tokens, transformer.global_pool != "token"
    if not isinstance(embedding, nn.Conv2d) or embedding.kernel_size != embedding.stride:
        raise ValueError(
            "the patches of this transformer overlap or come from a CNN, so that dropping one hides nothing"
        )
    return _Tokens(embedded, (embedding.kernel_size[0], embedding.kernel_size[1]), prefix, patches_only)


def _drop(kept: Tensor, prefix: int, module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor:
    """Keep of tokens ``(B, prefix + N, C)`` the prefix and those that ``kept`` ``(B, N)`` marks, as many an image."""
    if bool(kept.all()):
        return tokens
    patches = tokens[:, prefix:][kept].view(len(tokens), -1, tokens.shape[-1]) if kept.any() else tokens[:, :0]
    return torch.cat([tokens[:, :prefix], patches], dim=1)
