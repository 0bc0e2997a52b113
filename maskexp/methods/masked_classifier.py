r"""A classifier of partly hidden images: the predictor that REAL-X and RB-AEM train first.

With random masks :math:`r` that know nothing of the image it minimises :math:`-\log f(y | x \odot r)` (Jethani et al.,
AISTATS 2021, Eq. 6), or :math:`KL(f_b(x) \| f(x \odot r))` to a fixed classifier :math:`f_b` of whole images
(Ganjdanesh et al., ECCV 2022), so that it can be asked of any part of an image. What a mask gives away about the class
by its shape alone cannot help it.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.random_masks import BernoulliMasks, RadialMasks, RandomMasks
from maskexp.methods.base import Method
from maskexp.methods.erm import ERM
from maskexp.methods.optimization import require_in_range
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models.masked_classifier import MaskedClassifierNetwork
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["MaskedClassifier", "Target", "divergence"]

Masks = Literal["cells", "bumps"]
Target = Literal["label", "classifier"]


class MaskedClassifier(Method):
    """A classifier that learns from randomly masked images, and is judged on whole ones.

    Args:
        masks: How images are masked in training: "cells", each visible with probability 1/2 (REAL-X's paper), or
            "bumps", a Gaussian somewhere in the image (RB-AEM).
        cell: Pixels a side of a cell, at least 1; it has to divide the image (REAL-X's paper: 1 for digits, superpixels
            otherwise).
        mask_temperature: Temperature of the relaxation of what is drawn, above 0; null for no relaxation of cells and
            no draw from bumps (REAL-X: null; RB-AEM's released code: 0.1; COMET's release: 0.1 for cells, null for
            bumps).
        sigma: Smallest and largest deviation of a bump, as shares of the image's side (RB-AEM's released code: 80/224
            and 100/224; COMET's release: 20/224 and 50/224).
        target: What is learned: the "label" (REAL-X's paper), or the probabilities of a "classifier" of whole images
            (RB-AEM's).
        classifier_checkpoint: Checkpoint of an ERM, the classifier to learn from; "maskexp fit" trains it first if
            null.
        classifier_epochs: Epochs of that training, at least 1; as many as this one's if null (ours).
        hiding: Name of a paint, or a colour #rrggbb, for hidden pixels (REAL-X's paper: 0; COMET's release: the mean
            colour, which "grey" is for ImageNet).
        kwargs: Arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible.
    """

    def __init__(
        self,
        masks: Masks = "cells",
        cell: int = 1,
        mask_temperature: float | None = None,
        sigma: tuple[float, float] = (80 / 224, 100 / 224),
        target: Target = "label",
        classifier_checkpoint: str | None = None,
        classifier_epochs: int | None = None,
        hiding: str = "grey",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if masks not in get_args(Masks):
            raise ValueError(f"masks is {masks!r}; choose {' or '.join(get_args(Masks))}")
        require_in_range("cell", cell, 1)
        check_target(target, classifier_checkpoint)
        if mask_temperature is not None:
            require_in_range("mask_temperature", mask_temperature, 0, above=True)
        if not 0 < sigma[0] <= sigma[1]:
            raise ValueError(f"sigma is {list(sigma)}; give the smaller share of the side first, both above 0")
        self.masks: RandomMasks = (
            BernoulliMasks(cell, mask_temperature)
            if masks == "cells"
            else RadialMasks(sigma=(sigma[0], sigma[1]), temperature=mask_temperature)
        )
        self.target = target
        self.classifier_checkpoint = classifier_checkpoint
        self.classifier_epochs = classifier_epochs
        self.hiding = hiding

    def check_data(self, spec: DataSpec) -> None:
        """Refuse images that the cells do not fill."""
        if isinstance(self.masks, BernoulliMasks) and any(side % self.masks.cell for side in spec.image_size):
            height, width = spec.image_size
            raise ValueError(
                f"cells of {self.masks.cell} pixels do not fill images of {height} × {width} pixels; choose another "
                "--data.image_size or size of cells"
            )

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the classifier, and the one that it learns from."""
        return MaskedClassifierNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            hiding=self.hiding,
            masks=self.masks,
            teacher=self.target == "classifier",
        )

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier of whole images, if one is needed and not given."""
        self.check_data(spec)
        if self.target == "label" or self.classifier_checkpoint is not None:
            return None
        arguments = common_arguments(self.hparams)
        return Pretraining("classifier", "ERM", arguments, self.classifier_epochs, "classifier_checkpoint")

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the network; a training begins with the trained classifier of whole images."""
        begins = pretrained and not self.is_built
        super().build(spec, pretrained)
        teacher = cast(MaskedClassifierNetwork, self.network).teacher
        if begins and teacher is not None:
            trained = begin_with(self.classifier_checkpoint, ERM, "classifier", self, spec)
            teacher.load_state_dict(trained.network.state_dict())

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with the label, or the divergence from the classifier of whole images."""
        if self.target == "label":
            return {"loss_cls": F.cross_entropy(prediction.logits.float(), batch["label"])}
        return {"loss_cls": divergence(prediction.logits, cast(Tensor, prediction.extras["teacher_logits"])).mean()}


def divergence(logits: Tensor, target_logits: Tensor) -> Tensor:
    r"""Return :math:`KL(p_b \| p)` of each image, ``(B,)`` in fp32: of a fixed classifier's probabilities and ours.

    Args:
        logits: ``(B, K)``, ours.
        target_logits: ``(B, K)``, the fixed classifier's.

    Example:
        >>> import torch
        >>> ours, fixed = torch.tensor([[0.2, 0.8]]).log(), torch.tensor([[0.5, 0.5]]).log()
        >>> round(float(divergence(ours, fixed)), 6)
        0.223144
    """
    log_p, log_target = logits.float().log_softmax(dim=1), target_logits.detach().float().log_softmax(dim=1)
    return F.kl_div(log_p, log_target, reduction="none", log_target=True).sum(dim=1)


def check_target(target: str, checkpoint: str | None) -> None:
    """Refuse a target that there is not, or a classifier that nothing learns from.

    Raises:
        ValueError: if so.
    """
    if target not in get_args(Target):
        raise ValueError(f"target is {target!r}; choose {' or '.join(get_args(Target))}")
    if target == "label" and checkpoint is not None:
        raise ValueError("classifier_checkpoint is given, but with target: label nothing learns from it; omit it")
