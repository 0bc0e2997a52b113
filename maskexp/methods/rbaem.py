r"""RB-AEM: an amortised explanation of a fixed classifier by one radial bump an image.

Ganjdanesh, Gao, Huang: "Interpretations Steered Network Pruning via Amortized Inferred Saliency Maps", ECCV 2022, in
the form of the authors' released code.

First a predictor learns to say what the classifier :math:`f_b` says of the whole image from under random bumps
(:class:`~maskexp.methods.MaskedClassifier`). Then it is kept, and the selector minimises

:math:`KL(f_b(x) \| f(x \odot s)) + \lambda_1 \overline{(s + 0.0005)^p} + \lambda_2\, smooth`,

with :math:`s` drawn, relaxed, from a bump whose centre and width it chooses.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from maskexp.methods.base import Method
from maskexp.methods.masked_classifier import MaskedClassifier, divergence
from maskexp.methods.optimization import require_in_range
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.rt_saliency import powered_area, roughness
from maskexp.methods.stages import begin_with, common_arguments, require_same
from maskexp.models.network import Network
from maskexp.models.rbaem import RBAEMNetwork
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["RBAEM"]


class RBAEM(Method):
    r"""RB-AEM; the defaults are those of its released code for ImageNet.

    The last checkpoint is kept: accuracy is best under the widest bump.

    The class that the selector is told is the one that the classifier of whole images predicts (inferred); evaluation
    asks for the map of the labelled class as well, which takes no part in the decision.

    Args:
        area_weight: Weight λ1 of the area, at least 0 (released code: 1; for CIFAR-10 and in COMET's release 0.2).
        area_power: Power p of the mask's values in it, above 0 (released code: 0.5; CIFAR-10: 0.3; COMET's release: 1).
        smoothness: Weight λ2 of the squared differences of neighbours of the bump, at least 0 (released code: 1e-4;
            CIFAR-10: 1e-3; COMET's release: 0).
        draw: Whether the mask is drawn from the bump in training, relaxed with temperature 1 (released code), or is the
            bump itself (COMET's release).
        sigma: Smallest and largest deviation of the random bumps that the predictor learns from, as shares of the
            image's side (released code: 80/224 and 100/224; COMET's release: 20/224 and 50/224).
        initial_sigma: First deviation of the selector's bump, as a share of the image's side, above 0 (released code:
            100/224; CIFAR-10: 10/32).
        hiding: Name of a paint, or a colour #rrggbb, for hidden pixels (released code: 0 after normalisation, which
            "grey" is for ImageNet).
        encoder_stages: How many of the encoder's last maps are used, at least 1 (ours: 4).
        decoder_width: Channels of the decoder's finest step, at least 1 (released code of RT-Saliency: 64).
        predictor_checkpoint: Checkpoint of a MaskedClassifier with bumps, whose target is a classifier; "maskexp fit"
            trains both first if null.
        predictor_epochs: Epochs of that training, at least 1; as many as the selector's if null (released code: 100,
            beside 5 of the selector).
        backbone: Network of classifier, predictor and encoder, by timm's name or as one of our variants (COMET's
            release: resnet18).
        weights: First weights of classifier and predictor: "timm", a file, or null (COMET's release: null).
        optimizer: Optimiser of timm by its name (released code: adam).
        lr: Learning rate of new layers, at least 0 (released code, of the predictor: 1e-4).
        backbone_lr: Learning rate of backbones, at least 0 (released code, of the predictor: 1e-4).
        weight_decay: Weight decay, at least 0 (released code, of the predictor: 1e-4).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible.
    """

    selection = "last"

    def __init__(
        self,
        area_weight: float = 1.0,
        area_power: float = 0.5,
        smoothness: float = 1e-4,
        draw: bool = True,
        sigma: tuple[float, float] = (80 / 224, 100 / 224),
        initial_sigma: float = 100 / 224,
        hiding: str = "grey",
        encoder_stages: int = 4,
        decoder_width: int = 64,
        predictor_checkpoint: str | None = None,
        predictor_epochs: int | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-4,
        backbone_lr: float = 1e-4,
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
        require_in_range("area_weight", area_weight, 0)
        require_in_range("area_power", area_power, 0, above=True)
        require_in_range("smoothness", smoothness, 0)
        require_in_range("initial_sigma", initial_sigma, 0, above=True)
        require_in_range("decoder_width", decoder_width, 1)
        self.area_weight, self.area_power, self.smoothness = area_weight, area_power, smoothness
        self.sigma = sigma
        self.predictor_checkpoint = predictor_checkpoint
        self.predictor_epochs = predictor_epochs
        self.network_options: dict[str, Any] = {
            "hiding": hiding,
            "draw": draw,
            "initial_sigma": initial_sigma,
            "encoder_stages": encoder_stages,
            "decoder_width": decoder_width,
        }

    # --- the networks --------------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return classifier, predictor and selector; the weights of the first two come with them."""
        return RBAEMNetwork(self.backbone, spec.num_classes, image_size=spec.image_size, **self.network_options)

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the predictor, which trains the classifier first, unless it is given."""
        arguments = common_arguments(
            self.hparams,
            **self._shown,
            mask_temperature=0.1 if self.network_options["draw"] else None,
            target="classifier",
        )
        MaskedClassifier(**arguments)
        with torch.device("meta"):  # what the networks would refuse is refused before anything is trained
            RBAEMNetwork(self.backbone, spec.num_classes, image_size=spec.image_size, **self.network_options)
        if self.predictor_checkpoint is not None:
            return None
        return Pretraining("predictor", "MaskedClassifier", arguments, self.predictor_epochs, "predictor_checkpoint")

    @property
    def _shown(self) -> dict[str, Any]:
        """What the predictor is trained on: images under random bumps."""
        return {"masks": "bumps", "sigma": list(self.sigma), "hiding": self.network_options["hiding"]}

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained predictor and its classifier."""
        begins = pretrained and not self.is_built
        super().build(spec, pretrained)
        if begins:
            trained: Any = begin_with(self.predictor_checkpoint, MaskedClassifier, "predictor", self, spec)
            if trained.target != "classifier":
                raise ValueError(
                    f"{self.predictor_checkpoint} learned from the label, but RBAEM explains the classifier that a "
                    "predictor learned from; give one with target: classifier"
                )
            require_same(trained, self._shown, self.predictor_checkpoint, self)
            cast(RBAEMNetwork, self.network).begin_as(trained.network.classifier, trained.network.teacher)

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Return the prediction with the map of the target, and Grad-CAM.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` class that is explained; the one that the classifier of whole images predicts if None.
        """
        return self.with_attributions(self.network(images, target), images, target)

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the divergence from the classifier of whole images, the area and the smoothness."""
        extras = cast(dict[str, Tensor], prediction.extras)
        terms = {
            "loss_selector": divergence(prediction.logits, extras["teacher_logits"]).mean(),
            "loss_area": self.area_weight * powered_area(prediction.masks[0], self.area_power),
        }
        if self.smoothness > 0:
            terms["loss_smooth"] = self.smoothness * roughness(extras["map"])
        return terms
