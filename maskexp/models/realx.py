"""REAL-X's network: a selector of cells, a fixed predictor of any selection, and an evaluator that stands aside.

Jethani, Sudarshan, Aphinyanaphongs, Ranganath: "Have We Learned to Explain?: How Interpretability Methods Can Learn to
Encode Predictions in their Interpretations", AISTATS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskexp.masking import upsample_nearest
from maskexp.masking.binarize import given_mask
from maskexp.masking.random_masks import BernoulliMasks
from maskexp.masking.relaxed import rebar_draw, relaxed_bernoulli
from maskexp.models.classifier import Classifier
from maskexp.models.masked_classifier import fill_by_name, fixed
from maskexp.models.network import Network
from maskexp.models.selector import Selector, enlarge
from maskexp.types import OWN, Prediction

__all__ = ["REALXNetwork"]

Estimator = Literal["rebar", "relaxed"]
Grid = Literal["cells", "pixels"]


class REALXNetwork(Network):
    r"""Selector :math:`q(s | x)`, independent Bernoullis of cells; predictor :math:`f(y | x \odot s)`, fixed.

    In evaluation a cell is selected where its probability is at least 1/2, the predictor decides from what is
    selected, the attribution is the probability, and the one mask is the selection.

    Args:
        backbone: timm's name of the predictor and of the evaluator, or one of our variants.
        num_classes: classes K.
        weights: first weights of the evaluator: ``timm``, a file, or None. Those of the predictor are given later.
        image_size: (height, width) of the images.
        frozen_backbone: train nothing of the evaluator but its head.
        hiding: what is painted over hidden pixels.
        estimator: how the selector's gradient is estimated: ``rebar``, or ``relaxed``, masks in (0, 1).
        temperature: of the relaxations.
        grid: whether a mask has a value for each of the selector's ``cells``, or for each of the ``pixels``.
        evaluator: whether there is an evaluator (EVAL-X).
        teacher: whether there is a fixed classifier of whole images whose probabilities are to be kept.
        selector: see :class:`~maskexp.models.selector.Selector`.
        selector_weights: of the selector's backbone.
        selector_stride: pixels a side of a cell.
    """

    masked_stages = 1

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        *,
        weights: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        frozen_backbone: bool = False,
        hiding: str,
        estimator: Estimator,
        temperature: float,
        grid: Grid,
        evaluator: bool,
        teacher: bool,
        selector: str,
        selector_weights: str | None,
        selector_stride: int,
    ) -> None:
        super().__init__()
        self.hiding = fill_by_name(hiding, "REALX")
        self.estimator, self.temperature, self.grid = estimator, temperature, grid
        self.random_masks = BernoulliMasks(selector_stride if grid == "cells" else 1)
        self.selector = Selector(selector, selector_weights, image_size, selector_stride)
        self.predictor = fixed(Classifier(backbone, num_classes, None, image_size))
        self.evaluator = Classifier(backbone, num_classes, weights, image_size, frozen_backbone) if evaluator else None
        self.teacher = fixed(Classifier(backbone, num_classes, None, image_size)) if teacher else None
        if evaluator:
            self.reported = ("evaluator_acc",)
        self.train(self.training)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images from what is selected of them.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: in evaluation, one ``(B, 1, h, w)`` mask on the grid of the selection, in its place.

        Returns:
            A prediction whose attribution is the probability of each cell. In training ``extras`` hold
            ``selector_logits`` and, of REBAR, the draw ``hard`` and the predictor's logits ``relaxed_logits`` and
            ``conditional_logits`` for the two relaxations; ``evaluator_logits`` for randomly masked images; and
            ``teacher_logits`` for whole ones.
        """
        logits = self.select(images)
        if masks is not None:
            mask = given_mask(masks, 0, 1, logits.shape)
            logits = torch.where(mask > 0.5, torch.inf, -torch.inf)
        prediction = self._train(images, logits) if self.training else self.decide(images, logits >= 0)
        prediction.attributions[OWN] = logits.sigmoid()
        prediction.interpolation = "nearest" if self.grid == "cells" else "bilinear"
        if not self.training:
            prediction.masks = ((logits >= 0).to(logits.dtype),)
            return prediction
        prediction.masks = (logits.sigmoid(),)
        prediction.extras["selector_logits"] = logits
        if self.evaluator is not None:
            prediction.extras["evaluator_logits"] = self.evaluator(
                self.hiding.blend(images, self.random_masks.draw(images))
            ).logits
        if self.teacher is not None:
            with torch.no_grad():
                prediction.extras["teacher_logits"] = self.teacher(images).logits
        return prediction

    def select(self, images: Tensor) -> Tensor:
        """Return the logits of the Bernoullis, one for each cell ``(B, 1, h, w)`` or pixel ``(B, 1, H, W)``."""
        logits = self.selector(images)
        return logits.float() if self.grid == "cells" else enlarge(logits, (images.shape[-2], images.shape[-1]))

    def decide(self, images: Tensor, mask: Tensor) -> Prediction:
        """Return the predictor's prediction for what a mask, on any grid, selects."""
        return cast(Prediction, self.predictor(self.show(images, mask)))

    def show(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the images with what a mask, on any grid, leaves out painted over."""
        return self.hiding.blend(images, upsample_nearest(mask.to(images.dtype), (images.shape[-2], images.shape[-1])))

    def _train(self, images: Tensor, logits: Tensor) -> Prediction:
        """Return the predictor's prediction for drawn masks, the predictor having seen all of them at once."""
        if self.estimator == "relaxed":
            return self.decide(images, relaxed_bernoulli(logits, self.temperature))
        draw = rebar_draw(logits, self.temperature)
        masks = torch.cat([draw.hard, draw.relaxed, draw.conditional])
        together = self.decide(images.repeat(3, 1, 1, 1), masks)
        drawn, relaxed, conditional = together.logits.chunk(3)
        features = None if together.features is None else together.features[: len(images)]
        extras = {"hard": draw.hard, "relaxed_logits": relaxed, "conditional_logits": conditional}
        return Prediction(drawn, features=features, extras=dict(extras))

    def classify(self, features: Tensor) -> Tensor:
        """Return the predictor's logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.predictor.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.predictor.as_map(features)

    @property
    def plain_predictor(self) -> nn.Module:
        """The predictor, which was trained to decide from any part of an image."""
        return self.predictor

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the selector's backbone and of the evaluator's."""
        own = [] if self.evaluator is None else self.evaluator.backbone_parameters()
        return [*self.selector.backbone.parameters(), *own]

    def train(self, mode: bool = True) -> REALXNetwork:
        """Switch to training mode; predictor and teacher stay in evaluation mode."""
        super().train(mode)
        self.predictor.eval()
        if self.teacher is not None:
            self.teacher.eval()
        return self
