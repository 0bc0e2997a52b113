"""DiET's network: a student that is asked to need no more than a mask shows, and the classifier that it began as.

Bhalla, Srinivas, Lakkaraju: "Discriminative Feature Attributions: Bridging Post Hoc Explainability and Inherent
Interpretability", NeurIPS 2023.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.models.classifier import Classifier
from maskexp.models.masked_classifier import fixed
from maskexp.models.network import Network
from maskexp.models.selector import enlarge
from maskexp.types import OWN, Prediction

__all__ = ["DiETNetwork", "distance"]

MEAN, STD = (0.527, 0.447, 0.403), (0.229, 0.224, 0.225)
"""Of the colours that take the place of hidden pixels (released code)."""
STILL_STD = 0.05
"""Deviation of these colours where the student is explained (released code)."""


class DiETNetwork(Network):
    r"""Student :math:`f_s`, which decides from the whole image, and teacher :math:`f_b`, fixed.

    There is no selector: the mask of an image is found by gradient descent on the mask itself,
    :math:`\min_m \|f_s(x) - f_s(x_m)\|_1 + w \bar m` over probabilities, beginning at 1. In evaluation each image is by
    itself: its mask does not depend on the batch that it came in, nor on a state of a generator.

    Args:
        backbone: timm's name of both, or one of our variants.
        num_classes: classes K.
        image_size: (height, width) of the images.
        mask_cell: pixels a side of a cell of a mask.
        mask_lr: step of the descent, for the loss of an image by itself and a mask of one cell; a mask of n cells takes
            n times the step, so that the area alone moves each by ``mask_lr`` times its weight.
        explain_steps: steps of the descent in evaluation.
        area_weight: w in evaluation.
    """

    masked_stages = 1
    unexportable = "its masks are found by a descent on each image, as no fixed program can"

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        image_size: tuple[int, int] = (224, 224),
        mask_cell: int,
        mask_lr: float,
        explain_steps: int,
        area_weight: float,
    ) -> None:
        super().__init__()
        self.student = Classifier(backbone, num_classes, None, image_size)
        self.teacher = fixed(Classifier(backbone, num_classes, None, image_size))
        self.grid = (max(image_size[0] // mask_cell, 1), max(image_size[1] // mask_cell, 1))
        self.mask_lr, self.explain_steps, self.area_weight = mask_lr, explain_steps, area_weight
        self.train(self.training)

    def begin_as(self, trained: Classifier) -> None:
        """Let student and teacher begin as a trained classifier."""
        for part in (self.student, self.teacher):
            part.load_state_dict(trained.state_dict())

    def forward(self, images: Tensor) -> Prediction:
        """Classify images ``(B, 3, H, W)`` in [0, 1]; in evaluation find the mask of each.

        Returns:
            The student's prediction for the whole images. In evaluation its attribution and only mask is what the
            descent found, ``(B, 1, h, w)``; in training ``extras`` hold the ``teacher_logits``.
        """
        prediction = cast(Prediction, self.student(images))
        if self.training:
            with torch.no_grad():
                prediction.extras["teacher_logits"] = self.teacher(images).logits
            return prediction
        mask = self.find(images)
        prediction.attributions[OWN], prediction.masks = mask, (mask,)
        return prediction

    def find(self, images: Tensor) -> Tensor:
        """Return the masks ``(B, 1, h, w)`` in [0, 1] of images by descent, one image independent of the others."""
        with torch.inference_mode(False), torch.enable_grad():
            images = images.clone()
            with torch.no_grad():
                whole = self.student(images).logits.float().softmax(dim=1)
            colours = torch.randn(self.explain_steps, 3, generator=torch.Generator().manual_seed(0))
            mean = images.new_tensor(MEAN).view(1, 3, 1, 1)
            mask = images.new_ones(len(images), 1, *self.grid)
            for colour in colours.to(images).view(-1, 1, 3, 1, 1):
                mask = self.descend(images, mask, whole, (mean + STILL_STD * colour).clamp(0, 1), self.area_weight)[0]
            return mask.float()

    def descend(
        self, images: Tensor, mask: Tensor, whole: Tensor, colour: Tensor, area_weight: float
    ) -> tuple[Tensor, Tensor]:
        """Take one step of the descent on the masks, clamped to [0, 1].

        Args:
            images: ``(B, 3, H, W)``.
            mask: ``(B, 1, h, w)``.
            whole: ``(B, K)`` the student's probabilities for the whole images.
            colour: what takes the place of hidden pixels, of a shape that fits the images.
            area_weight: w.

        Returns:
            The new masks, and the loss ``(B,)`` of the former ones, both without a graph.
        """
        leaf = mask.detach().requires_grad_(True)
        probability = self.student(show(images, leaf, colour)).logits.float().softmax(dim=1)
        loss = (probability - whole).abs().sum(dim=1) + area_weight * leaf.float().mean(dim=(1, 2, 3))
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        step = self.mask_lr * self.grid[0] * self.grid[1]
        return (leaf.detach() - step * gradient).clamp(0, 1), loss.detach()

    def classify(self, features: Tensor) -> Tensor:
        """Return the student's logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.student.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.student.as_map(features)

    @property
    def plain_predictor(self) -> nn.Module:
        """The student, without its masks."""
        return self.student

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the student's backbone."""
        return self.student.backbone_parameters()

    def train(self, mode: bool = True) -> DiETNetwork:
        """Switch to training mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self


def show(images: Tensor, mask: Tensor, colour: Tensor) -> Tensor:
    """Return images with another colour where a mask on a coarser grid, enlarged bilinearly, hides them."""
    visible = enlarge(mask, (images.shape[-2], images.shape[-1])).to(images.dtype)
    return visible * images + (1 - visible) * colour


def random_colours(images: Tensor) -> Tensor:
    """Draw a colour for each image, ``(B, 3, 1, 1)`` in [0, 1] (released code)."""
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (mean + std * torch.randn_like(images[:, :, :1, :1])).clamp(0, 1)


def distance(logits: Tensor, others: Tensor) -> Tensor:
    """Return the L1 distance of two classifiers' probabilities, summed over classes, the mean over images.

    Args:
        logits: ``(B, K)``.
        others: ``(B, K)``.

    Example:
        >>> import torch
        >>> ours, theirs = torch.tensor([[0.6, 0.4], [0.5, 0.5]]), torch.tensor([[0.7, 0.3], [0.4, 0.6]])
        >>> round(float(distance(ours.log(), theirs.log())), 6)
        0.2
    """
    difference = logits.float().softmax(dim=1) - others.float().softmax(dim=1)
    return F.l1_loss(difference, torch.zeros_like(difference), reduction="sum") / len(difference)
