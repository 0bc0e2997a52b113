r"""RT-Saliency: a masker that learns to explain a fixed classifier, for any image, in one forward pass.

Dabkowski & Gal: "Real Time Image Saliency for Black Box Classifiers", NeurIPS 2017, in the form of the authors'
released code. With the mask :math:`m` of the labelled class, :math:`f` must know the class from what is kept, and must
not from what is left:

:math:`L = L_{destroy}(x_{1-m}) + w_a \overline{(m + 0.0005)^{0.3}} + w_s\, smooth(m) + w_p L_{preserve}(x_m)`,

with hinges on logits. For a share of the images another class is asked for, which is not there: then the two hinges
change places, so that an empty mask is right.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.attribution import register_attribution
from maskexp.masking.inputs.fills import Blur
from maskexp.methods.base import Method
from maskexp.methods.erm import ERM
from maskexp.methods.loading import load_method
from maskexp.methods.optimization import require_in_range
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models.classifier import Classifier
from maskexp.models.network import Network
from maskexp.models.rt_saliency import Encoder, RTSaliencyNetwork
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["RTSaliency", "rt_saliency"]

Replacement = Literal["random", "random_without_noise"]
NOISE, COLOURS, KEPT_NOISE = 0.055, 0.165, 0.015
"""Deviation of the noise on a colour, reach of colours around grey, and deviation of the noise on what is kept, for
images in [0, 1] (released code: 0.11, 0.33 and 0.03, where images lie, as is inferred, in [-1, 1])."""


class RTSaliency(Method):
    """A trained masker for a fixed classifier; the defaults are those of the authors' released code.

    The classifier decides, from the whole image: accuracies are its own, and only the maps are RT-Saliency's. They are
    of the labelled class in evaluation, of the predicted one in ``maskexp explain``. The authors first train the gate
    alone to tell which classes are present; here its loss is a term of the objective (ours). The last checkpoint is
    kept: the accuracy is the same from the first to the last.

    Args:
        area_weight: Weight of the area, at least 0 (released code: 8).
        area_power: Power of the mask's values in it, above 0 (released code: 0.3, which favours masks of few values).
        smoothness: Weight of the squared differences of neighbours, at least 0 (released code: 0.5, for ResNet 0.005;
            COMET's release: 0.5); it grows with the size of the mask.
        preserve_weight: Weight of what has to be known from what is kept, at least 0 (released code: 0.3).
        destroy_weight: Weight of what must not be known from what is left, at least 0 (released code: 1).
        preserve_margin: By how much the class's logit has to exceed all others where it is to be known, at least 0
            (released code: 1).
        destroy_margin: By how much another logit has to exceed the class's where it must not be known, at least 0
            (released code: 5).
        fake_share: Share of the images for which an absent class is asked for, in [0, 1) (released code: 0.3; COMET's
            release: 0).
        presence_weight: Weight of telling present from absent classes, at least 0 (ours: 1).
        replacement: What takes the place of hidden pixels: "random", a blurred image for one half of the images and a
            colour with noise for the others, and a little noise on what is kept (released code), or
            "random_without_noise" (COMET's release).
        confidence: What the gate's activation has to exceed in evaluation, any number (released code: 6).
        encoder: The masker's encoder: the "classifier", fixed (released code: ImageNet's ResNet-50), or "scratch", a
            network of the same kind that is trained (COMET's release).
        encoder_stages: How many of its last maps are used, at least 1 (ours: 4; their finest is the mask's grid).
        decoder_width: Channels of the decoder's finest step, at least 1 (released code: 64).
        classifier_checkpoint: Checkpoint of an ERM, the classifier to explain; "maskexp fit" trains it first if null.
        classifier_epochs: Epochs of that training, at least 1; as many as the masker's if null (ours).
        backbone: Network of the classifier, by timm's name or as one of our variants (COMET's release: resnet18).
        weights: First weights of the classifier, where it is trained first: "timm", a file, or null
            (COMET's release: null).
        optimizer: Optimiser of timm by its name (released code: adam).
        lr: Learning rate of the decoder, at least 0 (released code: 1e-3).
        backbone_lr: Learning rate of an encoder that is trained, at least 0 (COMET's release: 5e-4).
        weight_decay: Weight decay, at least 0 (released code: 1e-4).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible.
    """

    selection = "last"

    def __init__(
        self,
        area_weight: float = 8.0,
        area_power: float = 0.3,
        smoothness: float = 0.5,
        preserve_weight: float = 0.3,
        destroy_weight: float = 1.0,
        preserve_margin: float = 1.0,
        destroy_margin: float = 5.0,
        fake_share: float = 0.3,
        presence_weight: float = 1.0,
        replacement: Replacement = "random",
        confidence: float = 6.0,
        encoder: Encoder = "classifier",
        encoder_stages: int = 4,
        decoder_width: int = 64,
        classifier_checkpoint: str | None = None,
        classifier_epochs: int | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-3,
        backbone_lr: float = 1e-3,
        weight_decay: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone,
            weights=weights,
            optimizer=optimizer,
            lr=lr,
            backbone_lr=backbone_lr,
            weight_decay=weight_decay,
            **kwargs,
        )
        require_in_range("area_power", area_power, 0, above=True)
        require_in_range("fake_share", fake_share, 0, 0.99)
        require_in_range("decoder_width", decoder_width, 1)
        self.weights_of_terms = {
            "area_weight": area_weight,
            "smoothness": smoothness,
            "preserve_weight": preserve_weight,
            "destroy_weight": destroy_weight,
            "presence_weight": presence_weight,
            "preserve_margin": preserve_margin,
            "destroy_margin": destroy_margin,
        }
        for name, value in self.weights_of_terms.items():
            require_in_range(name, value, 0)
        for name, given, choices in (("replacement", replacement, Replacement), ("encoder", encoder, Encoder)):
            if given not in get_args(choices):
                raise ValueError(f"{name} is {given!r}; choose {' or '.join(get_args(choices))}")
        self.area_power = area_power
        self.fake_share = fake_share
        self.noise = replacement == "random"
        self.classifier_checkpoint = classifier_checkpoint
        self.classifier_epochs = classifier_epochs
        self.network_options: dict[str, Any] = {
            "encoder": encoder,
            "encoder_stages": encoder_stages,
            "decoder_width": decoder_width,
            "confidence": confidence,
        }

    # --- the networks --------------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return classifier and masker; the classifier's weights come with it."""
        return RTSaliencyNetwork(self.backbone, spec.num_classes, image_size=spec.image_size, **self.network_options)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of one class, of which no other could be asked for."""
        if spec.num_classes < 2:
            raise ValueError(f"RTSaliency tells a class from others, and {spec.name} has only one")

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier, unless it is given."""
        self.check_data(spec)
        with torch.device("meta"):  # what the networks would refuse is refused before anything is trained
            self.configure_network(spec, None)
        if self.classifier_checkpoint is not None:
            return None
        arguments = common_arguments(self.hparams)
        return Pretraining("classifier", "ERM", arguments, self.classifier_epochs, "classifier_checkpoint")

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained classifier."""
        begins = pretrained and not self.is_built
        super().build(spec, pretrained)
        if begins:
            trained = begin_with(self.classifier_checkpoint, ERM, "classifier", self, spec)
            cast(RTSaliencyNetwork, self.network).begin_as(cast(Classifier, trained.network))

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Return the classifier's prediction with the mask of the target, and Grad-CAM.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` class that is explained; the predicted class if None.
        """
        return self.with_attributions(self.network(images, target), images, target)

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return what is known from what is left and what is not from what is kept, area, smoothness and presence."""
        network, images, label = cast(RTSaliencyNetwork, self.network), batch["image"], batch["label"]
        weight = self.weights_of_terms
        asked, real = self._ask(label, prediction.logits.shape[1], images)
        mask, presence = network.mask(images, asked)
        replaced = self._replacement(images)
        shown = images + KEPT_NOISE * torch.randn_like(images) if self.noise else images
        known, unknown = weight["preserve_margin"], weight["destroy_margin"]
        kept = network.classifier(mask * shown + (1 - mask) * replaced).logits
        left = network.classifier((1 - mask) * shown + mask * replaced).logits
        preserved = torch.where(real, hinge(kept, label, known), hinge(kept, label, unknown, known=False))
        destroyed = torch.where(real, hinge(left, label, unknown, known=False), hinge(left, label, known))
        return {
            "loss_destroy": weight["destroy_weight"] * destroyed.mean(),
            "loss_preserve": weight["preserve_weight"] * preserved.mean(),
            "loss_area": weight["area_weight"] * powered_area(mask, self.area_power),
            "loss_smooth": weight["smoothness"] * roughness(mask),
            "loss_presence": weight["presence_weight"]
            * F.binary_cross_entropy_with_logits(presence, real.to(presence.dtype)),
        }

    def _ask(self, label: Tensor, classes: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class that is asked for of each image, and whether it is there."""
        draws = torch.rand_like(images[:, :2, 0, 0])
        real = draws[:, 0] >= self.fake_share
        other = (label + 1 + (draws[:, 1] * (classes - 1)).long().clamp(max=classes - 2)) % classes
        return torch.where(real, label, other), real

    def _replacement(self, images: Tensor) -> Tensor:
        """Return what takes the place of hidden pixels: the blurred image, or a colour with noise."""
        draws = torch.rand_like(images[:, :1, :1, :1])
        side = min(images.shape[-2:])
        reach = max(round(27 * side / 224), 1)  # released code: a window of 55 pixels and a deviation of 11, for 224
        blurred = Blur(sigma=11 * side / 224, kernel_size=2 * reach + 1).fill(images, images[:, :1] < -1)
        colour = 0.5 + COLOURS * (2 * torch.rand_like(images[:, :, :1, :1]) - 1)
        painted = colour + (NOISE * torch.randn_like(images) if self.noise else torch.zeros_like(images))
        return torch.where(draws < 0.5, blurred, painted)

    @torch.no_grad()
    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the mean area of the masks of the labelled classes."""
        mask, _ = cast(RTSaliencyNetwork, self.network).mask(batch["image"], batch["label"])
        return {"mask_area_stage_1": mask.mean()}


def hinge(logits: Tensor, label: Tensor, margin: float, known: bool = True) -> Tensor:
    """Return how far each image is from being classified, or misclassified, by a margin (Carlini & Wagner).

    Args:
        logits: ``(B, K)``, K at least 2.
        label: ``(B,)``.
        margin: by which the label's logit has to exceed the best of the others, or to fall below it.
        known: whether the label is to be known.

    Returns:
        ``(B,)``, at least 0.
    """
    own = logits.float().gather(1, label[:, None])
    others = logits.float().scatter(1, label[:, None], -torch.inf).amax(dim=1, keepdim=True)
    difference = others - own if known else own - others
    return (difference + margin).relu()[:, 0]


def powered_area(mask: Tensor, power: float) -> Tensor:
    """Return the mean of ``(m + 0.0005) ** power`` of masks ``(B, 1, H, W)`` in [0, 1] (released code)."""
    return ((mask + 5e-4) ** power).mean()


def roughness(mask: Tensor) -> Tensor:
    """Return half the squared differences of neighbours an image, the border counting as beside 0 (released code).

    Args:
        mask: ``(B, 1, H, W)``. The sum over pixels is divided by the images alone, so that it grows with the size.
    """
    down = (mask[:, :, 1:] - mask[:, :, :-1]).square().sum()
    across = (mask[..., 1:] - mask[..., :-1]).square().sum()
    edges = (mask[:, :, 0], mask[:, :, -1], mask[..., 0], mask[..., -1])
    border = torch.stack([edge.square().sum() for edge in edges]).sum()
    return (down + across + 0.3 * border) / (2 * len(mask))


# --- as a map of any classifier --------------------------------------------------------------------------------------


def _check(network: Any, checkpoint: str = "") -> None:
    """Refuse to explain without a masker."""
    _masker(checkpoint)


@register_attribution("rt_saliency", title="RT-Saliency", check=_check)
def rt_saliency(
    network: Any, images: Tensor, target: Tensor, features: Tensor | None = None, *, checkpoint: str = ""
) -> Tensor:
    """Return the masks of a masker that was trained by :class:`RTSaliency`, one forward pass a batch.

    Args:
        network: unused: the masker explains the classifier that it was trained for, which this one should be.
        images: ``(B, 3, H, W)`` float in [0, 1].
        target: ``(B,)`` int64 class to explain.
        features: unused.
        checkpoint: of an RTSaliency.

    Returns:
        ``(B, 1, H, W)`` float32 in [0, 1].

    Raises:
        ValueError: if there is no checkpoint of an RTSaliency.
    """
    masker = _masker(checkpoint).to(images.device)
    with torch.no_grad():
        mask, _ = masker.mask(images, target, masker.confidence)
    return mask


@lru_cache(maxsize=2)
def _masker(checkpoint: str) -> RTSaliencyNetwork:
    if not checkpoint:
        raise ValueError(
            "rt_saliency needs a trained masker: train an RTSaliency, and give its checkpoint behind the name, as in "
            "rt_saliency:checkpoint=runs/masker/checkpoints/best.ckpt"
        )
    method = load_method(checkpoint)
    if not isinstance(method, RTSaliency):
        raise ValueError(f"{checkpoint} holds the method {type(method).__name__}; rt_saliency needs an RTSaliency")
    return cast(RTSaliencyNetwork, method.network)
