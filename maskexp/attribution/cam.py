r"""The CAM family: channels of spatial features, weighed by what each means to a class and added up.

A map is :math:`\sum_k w_k A_k` of the activations :math:`A_k`; the members differ in the weights. They read the last
spatial features before pooling, so that for a prediction that is there already only the head runs again, or those of
any layer by name (``grad_cam:layer=layer3``). torch-cam and pytorch-grad-cam have them too; they are written here
because these hook a module by name, which the last features of a transformer or of a masked network have not, run the
whole network again, and, where a channel is a forward pass, wait for the device after each. Tests compare with both.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.attribution.forward import Precision, in_batches, in_precision, masked_logits, resolved_hiding
from maskexp.attribution.layers import SpatialFeatures, check_layer
from maskexp.attribution.registry import GRAD_CAM, register_attribution
from maskexp.masking.inputs import InputMasking
from maskexp.metrics.functional.inputs import minmax_normalize

__all__ = ["ablation_cam", "cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "score_cam", "xgrad_cam"]


@register_attribution("cam", title="CAM", scale="min_max", check=check_layer)
def cam(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, layer: str | None = None
) -> Tensor:
    r"""Return CAM, :math:`\sum_k w_k^c A_k` with the weights of the linear layer behind the average pooling.

    The weights are read off the gradient, so that the head may be any module that pools by the mean and is linear
    behind it; a bias adds nothing. By name the map is stretched to [0, 1] on its own grid, evidence *against* the class
    included, which is what COMET's released code compares with under the name of Grad-CAM.

    Args:
        network: the classifier, in evaluation mode.
        images: ``(B, 3, H, W)`` float in [0, 1].
        target: ``(B,)`` int64 class to explain.
        features: ``Prediction.features`` of the images; computed if None.
        layer: name of the layer whose output is read; the last spatial features if None.

    Returns:
        ``(B, 1, h, w)`` float32, of either sign.

    Raises:
        ValueError: if what follows the features is more than average pooling and a linear layer.

    Source:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, eq. 2.
    """
    stage, activations, gradient, score = _with_gradients(network, images, target, features, layer)
    with torch.no_grad():
        without = _scores(stage.logits(torch.zeros_like(stage.values)), target)
    per_channel = gradient.mean(dim=(2, 3), keepdim=True)
    rest = score - without - (gradient * activations).sum(dim=(1, 2, 3))
    spread = (gradient - per_channel).abs().amax(dim=(1, 2, 3)) / per_channel.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12)
    half = 1e-3 if stage.values.dtype == torch.float32 and not torch.is_autocast_enabled(images.device.type) else 0.1
    if bool(((spread > half) | (rest.abs() > half * (score.abs() + without.abs() + 1))).any()):
        raise ValueError(
            f"CAM reads the weights of one linear layer behind average pooling, and the head of "
            f"{type(network).__name__} is more than that; choose grad_cam, which is the same map where CAM exists"
        )
    positions = activations.shape[2] * activations.shape[3]
    return (per_channel * positions * activations).sum(dim=1, keepdim=True)


@register_attribution(GRAD_CAM, title="Grad-CAM", scale="positive", check=check_layer)
def grad_cam(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, layer: str | None = None
) -> Tensor:
    r"""Return :math:`\mathrm{ReLU}(\sum_k \alpha_k A_k)`, :math:`\alpha_k` the mean gradient of the target's logit.

    Where the features are given, only the layers behind them run again, with gradients on even inside
    ``torch.inference_mode``. No parameter collects a gradient. Arguments and errors are those of :func:`cam`, whose
    map, cut off at 0 and divided by the number of positions, this is where CAM exists.

    Returns:
        ``(B, 1, h, w)`` float32, 0 or greater.

    Source:
        Selvaraju et al., "Grad-CAM", ICCV 2017, eqs. 1 and 2.
    """
    _, activations, gradient, _ = _with_gradients(network, images, target, features, layer)
    return (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True).relu()


@register_attribution("grad_cam_plus_plus", title="Grad-CAM++", scale="positive", check=check_layer)
def grad_cam_plus_plus(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, layer: str | None = None
) -> Tensor:
    r"""Return Grad-CAM++: weights :math:`\sum_{ij} \alpha_{ij} \mathrm{ReLU}(g_{ij})` from the gradient *g*.

    :math:`\alpha_{ij} = g_{ij}^2 / (2 g_{ij}^2 + g_{ij}^3 \sum_{ab} A_{ab})`, computed as
    :math:`1 / (2 + g_{ij} \sum A)`, in which no square of a small gradient is lost (pytorch-grad-cam adds 1e-6 to a
    denominator that is often smaller; torch-cam 0.5 leaves the division out). Arguments, errors and result are those of
    :func:`grad_cam`.

    Source:
        Chattopadhay et al., "Grad-CAM++", WACV 2018, eqs. 5, 7 and 19 (the exponential of the logit as score).
    """
    _, activations, gradient, _ = _with_gradients(network, images, target, features, layer)
    denominator = 2 + gradient * activations.sum(dim=(2, 3), keepdim=True)
    alpha = torch.where((gradient != 0) & (denominator != 0), 1 / denominator, 0)
    weights = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1, keepdim=True).relu()


@register_attribution("xgrad_cam", title="XGrad-CAM", scale="positive", check=check_layer)
def xgrad_cam(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, layer: str | None = None
) -> Tensor:
    r"""Return XGrad-CAM: the gradient is averaged with the activation as weight, :math:`\sum g A / \sum A`.

    A channel that adds up to 0 has the weight 0. Arguments, errors and result are those of :func:`grad_cam`.

    Source:
        Fu et al., "Axiom-based Grad-CAM", BMVC 2020, eq. 8.
    """
    _, activations, gradient, _ = _with_gradients(network, images, target, features, layer)
    total = activations.sum(dim=(2, 3), keepdim=True)
    weights = torch.where(total != 0, (gradient * activations).sum(dim=(2, 3), keepdim=True) / total, 0)
    return (weights * activations).sum(dim=1, keepdim=True).relu()


@register_attribution("layer_cam", title="LayerCAM", scale="positive", check=check_layer)
def layer_cam(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, layer: str | None = None
) -> Tensor:
    r"""Return LayerCAM: :math:`\mathrm{ReLU}(\sum_k \mathrm{ReLU}(g_k) A_k)`, a weight for each position.

    Made for early layers, e.g. ``layer_cam:layer=layer2``. Arguments, errors and result are those of :func:`grad_cam`.

    Source:
        Jiang et al., "LayerCAM", TIP 2021, eqs. 6 to 8; the tanh that it puts over early layers is left out.
    """
    _, activations, gradient, _ = _with_gradients(network, images, target, features, layer)
    return (gradient.relu() * activations).sum(dim=1, keepdim=True).relu()


@register_attribution("ablation_cam", title="Ablation-CAM", scale="positive", check=check_layer)
def ablation_cam(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    layer: str | None = None,
    batch_size: int | None = None,
) -> Tensor:
    r"""Return Ablation-CAM: a channel weighs what share of the logit is lost when it is set to 0.

    Of the last features only the head runs for each channel, of a named layer the whole network. Arguments, errors and
    result are those of :func:`grad_cam`, and

    Args:
        network: see there.
        images: see there.
        target: see there.
        features: see there.
        layer: see there.
        batch_size: channels that are set to 0 at once; the largest batch that fits if None.

    Source:
        Desai & Ramaswamy, "Ablation-CAM", WACV 2020, :math:`w_k = (y^c - y_k^c) / y^c`; a logit below 0 turns all
        weights around, as there and in pytorch-grad-cam.
    """
    with torch.inference_mode():
        stage = SpatialFeatures(network, images, features, layer)
        activations = stage.as_map(stage.values)
        count, channels = activations.shape[:2]
        score = _scores(stage.logits(stage.values), target)
    ablated = activations.new_zeros(count * channels)

    @torch.inference_mode()
    def run(start: int, stop: int) -> None:
        each = torch.arange(start, stop, device=images.device)
        row, channel = each // channels, each % channels
        ablated[start:stop] = _scores(
            stage.logits(stage.without_channels(stage.values[row], channel), row), target[row]
        )

    in_batches(run, count * channels, network, images, batch_size, "ablation_cam")
    weights = (score[:, None] - ablated.view(count, channels)) / score[:, None]
    return (weights[..., None, None] * activations).sum(dim=1, keepdim=True).relu()


@register_attribution("score_cam", title="Score-CAM", scale="positive", check=check_layer)
def score_cam(
    network: Any,
    images: Tensor,
    target: Tensor,
    features: Tensor | None = None,
    *,
    layer: str | None = None,
    hiding: InputMasking | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
) -> Tensor:
    r"""Return Score-CAM: a channel weighs as much as the class gains when the image is seen through it alone.

    Each channel, stretched to [0, 1] and enlarged to the image, is a soft mask; the weights are the softmax over the
    channels of the target's logit under each. A channel that is constant shows nothing: all of them share one forward
    pass, and give the same weights as if each had its own. Arguments, errors and result are those of :func:`grad_cam`,
    and

    Args:
        network: see there.
        images: see there.
        target: see there.
        features: see there.
        layer: see there.
        hiding: how the image is hidden where the mask is 0. None: in the colour that the network normalises to 0, as
            published; layer masking and others that know no half hidden pixel show where the mask exceeds 0.5.
        batch_size: masked images at once; the largest batch that fits if None.
        precision: in which masked images go through the network, ``bf16`` or ``fp32``; None: as it runs around this
            function. bf16 takes half to two thirds of the time where the device computes in it.

    Source:
        Wang et al., "Score-CAM", CVPRW 2020, eqs. 4 to 7. Stretching before enlarging and the softmax of logits are
        torch-cam's; the released code weighs with probabilities. A baseline score changes nothing behind a softmax.
    """
    with torch.inference_mode():
        stage = SpatialFeatures(network, images, features, layer)
        activations = stage.as_map(stage.values)
        count, channels, height, width = activations.shape
        masks = minmax_normalize(activations.reshape(-1, 1, height, width))
        shows = masks.flatten(1).any(dim=1)
        each = shows.nonzero().flatten()
    hide = resolved_hiding(hiding, network, images)
    scores = activations.new_zeros(count * channels)

    @torch.inference_mode()
    def run(start: int, stop: int) -> None:
        chosen = each[start:stop]
        rows = chosen // channels
        soft = F.interpolate(masks[chosen], images.shape[-2:], mode="bilinear", align_corners=False)
        scores[chosen] = _scores(masked_logits(network, images[rows], soft, hide), target[rows])

    with in_precision(images, precision):
        in_batches(run, len(each), network, images, batch_size, "score_cam")
        if len(each) < len(shows):
            with torch.inference_mode():
                nothing = masked_logits(network, images, torch.zeros_like(images[:, :1]), hide)
                unseen = _scores(nothing, target).repeat_interleave(channels)
                scores.copy_(torch.where(shows, scores, unseen))
    with torch.inference_mode():
        weights = scores.view(count, channels).softmax(dim=1)
    return (weights[..., None, None] * activations).sum(dim=1, keepdim=True).relu()


def _with_gradients(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None, layer: str | None
) -> tuple[SpatialFeatures, Tensor, Tensor, Tensor]:
    """Return the features, as activations and as gradient ``(B, C, h, w)`` of the target's logit, and that logit."""
    stage = SpatialFeatures(network, images, features, layer)
    with torch.inference_mode(False), torch.enable_grad():
        stage.images, target = stage.images.clone(), target.clone()  # tensors of inference mode have no gradient
        leaf = stage.values.clone().requires_grad_(True)
        score = _scores(stage.logits(leaf), target)
        (gradient,) = torch.autograd.grad(score.sum(), leaf)
    return stage, stage.as_map(leaf.detach()), stage.as_map(gradient), score.detach()


def _scores(logits: Tensor, target: Tensor) -> Tensor:
    """Return the logit of the target of each image, ``(B,)``."""
    return logits.gather(1, target[:, None])[:, 0]
