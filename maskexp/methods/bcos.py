r"""B-cos networks: a classifier whose decision is a sum of contributions of its pixels.

Böhle, Singh, Fritz, Schiele: "B-cos Alignment for Inherently Interpretable CNNs and Vision Transformers", TPAMI 2024
(v2), after Böhle, Fritz, Schiele, CVPR 2022.

Every layer is :math:`|\cos(x, w)|^{B-1} \hat w^T x`, so that the network is :math:`W(x) x` and a class is explained by
its row of the matrix. The objective is a binary cross-entropy for each class, which asks weights to align with what
speaks for the class: only then are cosines, and logits, large.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from bcos.modules.losses import UniformOffLabelsBCEWithLogitsLoss
from lightning.pytorch.core.optimizer import LightningOptimizer
from timm.utils.agc import adaptive_clip_grad
from torch import Tensor, nn
from torch.optim import Optimizer

from maskexp.methods.base import Method
from maskexp.methods.optimization import require_in_range
from maskexp.models.bcos import BCosNetwork, Encoding
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction

__all__ = ["BCos"]

Objective = Literal["bce", "cross_entropy"]


class BCos(Method):
    """A B-cos network; the defaults are the recipe of v2 for ImageNet.

    The attribution is the positive part of the contributions of each pixel to the logit of the explained class, divided
    by its maximum; the signed contributions, which add up to the logit without its constant, are in
    ``prediction.extras["contributions"]``.

    Args:
        encoding: What the first layer sees: the colours and their "inverse", six channels (paper), or three
            "normalized" ones (COMET's release).
        objective: "bce", a binary cross-entropy for each class, with 1/K as the target of the wrong ones (released code
            of v2), or "cross_entropy" (COMET's release).
        b: Exponent B of the layers, at least 1, where they are linear (paper: 2).
        gradient_clipping: Largest norm of the gradient of a filter as a share of the filter's norm, at least 0
            (released code of v2: 0.01, adaptive gradient clipping); 0 does not clip.
        backbone: Convolutional network, by timm's name or as one of our variants, of convolutions, batch norms,
            activations and poolings alone (paper: ResNets and others; COMET: resnet18).
        weights: First weights: null for random ones, or a file with those of a B-cos network
            (ours: null).
        optimizer: Optimiser of timm by its name (released code of v2: adam).
        lr: Learning rate of the classifier, at least 0 (released code of v2: 1e-3; COMET's release: 5e-3).
        backbone_lr: Learning rate of all other layers, at least 0 (released code of v2: 1e-3; COMET's release: 5e-3).
        weight_decay: Weight decay, at least 0 (released code of v2: 0; a filter's norm does not matter).
        warmup_epochs: Epochs of linear warm-up, at least 0 (released code of v2: 5, there from 0.01 of the rate).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible; later, if the backbone has a layer that cannot be converted.
    """

    soft_labels = True

    def __init__(
        self,
        encoding: Encoding = "inverse",
        objective: Objective = "bce",
        b: float = 2.0,
        gradient_clipping: float = 0.01,
        backbone: str = "resnet18",
        weights: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-3,
        backbone_lr: float = 1e-3,
        weight_decay: float = 0.0,
        warmup_epochs: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone,
            weights=weights,
            optimizer=optimizer,
            lr=lr,
            backbone_lr=backbone_lr,
            weight_decay=weight_decay,
            warmup_epochs=warmup_epochs,
            **kwargs,
        )
        if objective not in get_args(Objective):
            raise ValueError(f"objective is {objective!r}; choose {' or '.join(get_args(Objective))}")
        require_in_range("b", b, 1)
        require_in_range("gradient_clipping", gradient_clipping, 0)
        self.objective_name = objective
        self.gradient_clipping = gradient_clipping
        self.network_options: dict[str, Any] = {"encoding": encoding, "b": b}

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the converted backbone."""
        return BCosNetwork(
            self.backbone,
            spec.num_classes,
            weights=weights,
            image_size=spec.image_size,
            frozen_backbone=self.frozen_backbone,
            **self.network_options,
        )

    def on_fit_start(self) -> None:
        """Refuse a trainer that has exchanged the norms.

        Raises:
            ValueError: if it has.
        """
        super().on_fit_start()
        if any(isinstance(module, nn.SyncBatchNorm) for module in self.network.modules()):
            raise ValueError(
                "SyncBatchNorm subtracts a mean, which the norms of a B-cos network must not: give "
                "--trainer.sync_batchnorm false"
            )

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the binary cross-entropies of all classes, or the cross-entropy."""
        logits, label = prediction.logits.float(), batch["label"]
        if self.objective_name == "cross_entropy":
            return {"loss_cls": F.cross_entropy(logits, label)}
        return {"loss_cls": UniformOffLabelsBCEWithLogitsLoss()(logits, label)}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer | LightningOptimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer is told to, and then each filter's gradient by the filter's norm."""
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)  # type: ignore[arg-type]
        if self.gradient_clipping > 0:
            clip: Any = adaptive_clip_grad  # timm has no types for it
            clip(self.network.parameters(), clip_factor=self.gradient_clipping)

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Return the prediction with the contributions to the target's logit, and Grad-CAM.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` class that is explained; the predicted class if None.
        """
        prediction: Prediction = self(images)
        chosen = prediction.logits.argmax(dim=1) if target is None else target
        signed = self.network.contributions(images, chosen).float()  # type: ignore[operator]
        positive = signed.relu()
        largest = positive.amax(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(positive.dtype).tiny)
        prediction.extras["contributions"] = signed
        prediction.attributions[OWN] = positive / largest
        return self.with_attributions(prediction, images, target)
