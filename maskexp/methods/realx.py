r"""REAL-X: a selector that cannot tell the predictor the class by the shape of what it selects.

Jethani, Sudarshan, Aphinyanaphongs, Ranganath: "Have We Learned to Explain?: How Interpretability Methods Can Learn to
Encode Predictions in their Interpretations", AISTATS 2021.

First a predictor learns :math:`\min_f -\log f(y | x \odot r)` with :math:`r \sim Bernoulli(1/2)` (Eq. 6;
:class:`~maskexp.methods.MaskedClassifier`). Then it is kept, and the selector :math:`q(s | x)` maximises
:math:`E_{s \sim q}[\log f(y | x \odot s) - \lambda \bar s]` (Eq. 7) with REBAR's gradient. Explanations are scored by
EVAL-X, a predictor that was trained in the same way, independently.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.masking.relaxed import rebar_surrogate
from maskexp.methods.base import Method
from maskexp.methods.masked_classifier import MaskedClassifier, Target, check_target, divergence
from maskexp.methods.optimization import require_in_range
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments, require_same
from maskexp.models.network import Network
from maskexp.models.realx import Estimator, Grid, REALXNetwork
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["REALX"]


class REALX(Method):
    r"""REAL-X with EVAL-X; the defaults are the paper's and its released example's.

    The last checkpoint is kept: accuracy is best before the selector has learned to leave anything out.

    The evaluator (EVAL-X) is trained beside the selector, on its own random masks and without any part in the
    selector's objective; ``evaluator_acc`` is its accuracy on what is selected.

    Args:
        area_weight: Weight λ of the mean probability of a cell, at least 0 (released example: 5, for digits; COMET's
            release: 0.2).
        estimator: How the selector's gradient is estimated: "rebar" (paper), unbiased, or "relaxed", by masks in
            (0, 1), which is biased (COMET's release).
        temperature: Temperature of the relaxations, above 0 (released code: 0.1; COMET's release, relaxed: 1).
        grid: What a mask has a value for: each of the "cells" of the selector (paper, as superpixels), or each of the
            "pixels" (COMET's release).
        target: What the predictor learns and the selector keeps: the "label" (paper), or the probabilities of a
            "classifier" of whole images (COMET's release).
        evaluator: Whether EVAL-X is trained (paper).
        hiding: Name of a paint, or a colour #rrggbb, for hidden pixels (paper: 0; COMET's release: the mean colour,
            which "grey" is for ImageNet).
        predictor_checkpoint: Checkpoint of a MaskedClassifier, the predictor; "maskexp fit" trains it first if null.
        predictor_epochs: Epochs of that training, at least 1; as many as the selector's if null (released example).
        selector: Network of the selector: "lraspp_mobilenet_v3_large" (COMET's release), or a network of timm (ours).
        selector_weights: First weights of the selector's backbone: null for random ones, "imagenet", or a file
            (ours: null).
        selector_stride: Pixels a side of a cell (COMET's release: 8).
        backbone: Network of predictor and evaluator, by timm's name or as one of our variants (COMET's release:
            resnet18).
        weights: First weights of predictor and evaluator: "timm", a file, or null (COMET's release: null).
        optimizer: Optimiser of timm by its name (released example: adam).
        lr: Learning rate of new layers, at least 0 (released example: 1e-4).
        backbone_lr: Learning rate of backbones, at least 0 (released example: 1e-4).
        weight_decay: Weight decay, at least 0 (released example: 0; COMET's release: 1e-4).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible.
    """

    selection = "last"

    def __init__(
        self,
        area_weight: float = 5.0,
        estimator: Estimator = "rebar",
        temperature: float = 0.1,
        grid: Grid = "cells",
        target: Target = "label",
        evaluator: bool = True,
        hiding: str = "grey",
        predictor_checkpoint: str | None = None,
        predictor_epochs: int | None = None,
        selector: str = "lraspp_mobilenet_v3_large",
        selector_weights: str | None = None,
        selector_stride: int = 8,
        backbone: str = "resnet18",
        weights: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-4,
        backbone_lr: float = 1e-4,
        weight_decay: float = 0.0,
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
        require_in_range("temperature", temperature, 0, above=True)
        check_target(target, None)
        for name, value, choices in (("estimator", estimator, Estimator), ("grid", grid, Grid)):
            if value not in get_args(choices):
                raise ValueError(f"{name} is {value!r}; choose {' or '.join(get_args(choices))}")
        self.area_weight = area_weight
        self.target = target
        self.predictor_checkpoint = predictor_checkpoint
        self.predictor_epochs = predictor_epochs
        self.selector_weights = selector_weights
        self.network_options: dict[str, Any] = {
            "hiding": hiding,
            "estimator": estimator,
            "temperature": temperature,
            "grid": grid,
            "evaluator": evaluator,
            "teacher": target == "classifier",
            "selector": selector,
            "selector_stride": selector_stride,
        }
        self._selector_weights: str | None = None

    # --- the networks --------------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return selector, predictor and evaluator."""
        return REALXNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            selector_weights=self._selector_weights,
            **self.network_options,
        )

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the predictor, unless it is given."""
        with torch.device("meta"):  # what the networks would refuse is refused before anything is trained
            self.configure_network(spec, None)
        arguments = common_arguments(
            self.hparams,
            **self._shown,
            mask_temperature=None if self.network_options["estimator"] == "rebar" else 0.1,
            target=self.target,
        )
        MaskedClassifier(**arguments).check_data(spec)
        if self.predictor_checkpoint is not None:
            return None
        return Pretraining("predictor", "MaskedClassifier", arguments, self.predictor_epochs, "predictor_checkpoint")

    @property
    def _shown(self) -> dict[str, Any]:
        """What the predictor is trained on: images under random masks like the selector's."""
        options = self.network_options
        cell = options["selector_stride"] if options["grid"] == "cells" else 1
        return {"masks": "cells", "cell": cell, "hiding": options["hiding"]}

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained predictor."""
        begins = pretrained and not self.is_built
        self._selector_weights = self.selector_weights if begins else None
        super().build(spec, pretrained)
        if begins:
            self._adopt(spec)

    def _adopt(self, spec: DataSpec) -> None:
        """Take over the trained predictor, and the classifier that it learned from."""
        trained: Any = begin_with(self.predictor_checkpoint, MaskedClassifier, "predictor", self, spec)
        network = cast(REALXNetwork, self.network)
        if trained.target != self.target:
            raise ValueError(
                f"{self.predictor_checkpoint} learned from the {trained.target}, but REALX keeps to the {self.target}; "
                f"give --model.target {trained.target}, or another predictor"
            )
        require_same(trained, self._shown, self.predictor_checkpoint, self)
        network.predictor.load_state_dict(trained.network.classifier.state_dict())
        if network.teacher is not None:
            network.teacher.load_state_dict(trained.network.teacher.state_dict())

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return what the selector loses, the weighted area, and the evaluator's cross-entropy."""
        extras = cast(dict[str, Tensor], prediction.extras)
        selector = extras["selector_logits"]
        lost = self._lost(prediction.logits, prediction, batch)
        if "hard" in extras:
            value, relaxed, conditional = (
                -self._lost(logits, prediction, batch)
                for logits in (prediction.logits, extras["relaxed_logits"], extras["conditional_logits"])
            )
            surrogate = rebar_surrogate(selector, extras["hard"], value, relaxed, conditional)
            lost = lost.detach() - (surrogate - surrogate.detach())  # the value of the draw, with REBAR's gradient
        area = prediction.masks[0].float().mean()
        terms = {"loss_selector": lost.mean(), "loss_area": self.area_weight * area}
        if "evaluator_logits" in extras:
            terms["loss_evaluator"] = F.cross_entropy(extras["evaluator_logits"].float(), batch["label"])
        return terms

    def _lost(self, logits: Tensor, prediction: Prediction, batch: Batch) -> Tensor:
        """Return ``-log f(y | x ⊙ s)`` of each image, or its divergence from the classifier of whole images."""
        if self.target == "classifier":
            return divergence(logits, cast(Tensor, prediction.extras["teacher_logits"]))
        return F.cross_entropy(logits.float(), batch["label"], reduction="none")

    def explain_batch(self, batch: Batch) -> Prediction:
        """Return the prediction, its attributions, and whether EVAL-X decides rightly from the same selection."""
        prediction = super().explain_batch(batch)
        network = cast(REALXNetwork, self.network)
        if network.evaluator is not None:
            seen = network.show(batch["image"], prediction.masks[0])
            right = network.evaluator(seen).logits.argmax(dim=1) == batch["label"]
            prediction.extras["evaluator_acc"] = right.float()
        return prediction
