"""COMET's network: a selector, a predictor that sees what the selector keeps, a detector that sees what it leaves.

Zhang et al., "Comprehensive Attribution: Inherently Explainable Vision Model with Feature Detector", ECCV 2024
(arXiv 2407.19308).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, cast

from torch import Tensor, nn
from torch.func import functional_call

from maskexp.masking import binarize
from maskexp.masking.binarize import given_mask
from maskexp.masking.inputs import Fill, Grey, InputMasking, create_input_masking
from maskexp.models.classifier import Classifier
from maskexp.models.network import Network
from maskexp.models.selector import Selector, enlarge
from maskexp.types import OWN, Prediction

DetectorKind = Literal["fixed", "trainable", "none"]
PredictorKind = Literal["train", "fixed"]
DetectorNorm = Literal["eval", "batch"]

GRADIENT_FILL = Grey()
"""What stands in for a way of hiding that has no gradient in the mask."""


class COMETNetwork(Network):
    r"""Selector :math:`S`, predictor :math:`f_P` and detector :math:`f_D`; the decision is :math:`f_P(x_s)`.

    With a fill that paints :math:`q` over what is hidden, :math:`x_s = S \odot x + (1 - S) \odot q` and
    :math:`x_{1-s} = (1 - S) \odot x + S \odot q` (paper, Eq. 1), with the sigmoid :math:`S \in (0, 1)^{H \times W}`.

    A way of hiding that is no fill (``layer``, ``partial_convolution``, ``token_dropping``) knows pixels that are
    visible and pixels that are not, so :math:`S` is then 1 where its logit is positive and 0 elsewhere, with the
    gradient of the sigmoid (straight through). Layer masking has no gradient in the mask at all: loss and logits are
    those of layer masking, and so is the gradient of the predictor's weights, but the selector gets the gradient that
    the same loss has through grey paint. It also needs batch norms with the statistics of whole images, so that
    predictor and detector both begin as the pre-trained classifier and keep its statistics. The paper tries none of
    this: ours.

    Args:
        backbone: timm's name of the predictor, or one of our variants (paper: resnet18).
        num_classes: classes K.
        weights: of the predictor: ``timm``, a file, or None (paper).
        image_size: (height, width) of the images.
        frozen_backbone: train nothing of the predictor but its head.
        detector_backbone: timm's name of the detector; ``backbone`` if None.
        detector: ``fixed`` (paper: trained on whole images before, then kept), ``trainable`` (COMET-TD: learns from
            what is left over) or ``none`` (the predictor plays both parts, and does not learn from the second).
        predictor: ``train``, or ``fixed`` (COMET-FP: the pre-trained classifier, kept).
        detector_bn: whether batch norms of a fixed detector, or of the predictor in its part, use their own statistics
            (``eval``: the paper's fixed detector) or those of the ``batch`` of x_{1-s} (released code, where the
            detector's running statistics drift on). A fixed predictor without a detector sees x_s in the same way, so
            that L_P and L_D are of one and the same network.
        hiding: name of a way of hiding (:func:`maskexp.masking.inputs.create_input_masking`); the paper paints the
            data's mean colour, which ``grey`` is for ImageNet.
        selector: see :class:`~maskexp.models.selector.Selector`.
        selector_weights: of the selector's backbone.
        selector_stride: of the selector's finer map.

    Raises:
        ValueError: if ``detector_bn: batch`` is asked for where hiding needs ``eval``, or predictor and detector have
            to begin as the same classifier but are different networks.
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
        detector_backbone: str | None,
        detector: DetectorKind,
        predictor: PredictorKind,
        detector_bn: DetectorNorm,
        hiding: str,
        selector: str,
        selector_weights: str | None,
        selector_stride: int,
    ) -> None:
        super().__init__()
        self.hiding: InputMasking = create_input_masking(hiding)
        self.hard = not isinstance(self.hiding, Fill)
        if self.hard and detector_bn == "batch":
            raise ValueError(
                f"detector_bn is 'batch', but hiding by {hiding!r} needs batch norms in evaluation: 'eval'"
            )
        if (self.hard or predictor == "fixed") and detector_backbone not in (None, backbone):
            raise ValueError(
                f"the predictor ({backbone}) and the detector ({detector_backbone}) begin as one pre-trained "
                "classifier here; omit detector_backbone"
            )
        self.detector_kind = detector
        self.predictor_kind = predictor
        self.detector_bn = detector_bn
        self.selector = Selector(selector, selector_weights, image_size, selector_stride)
        self.predictor = Classifier(backbone, num_classes, weights, image_size, frozen_backbone)
        self.detector: Classifier | None = None
        if detector != "none":
            self.detector = Classifier(detector_backbone or backbone, num_classes, None, image_size)
        if predictor == "fixed":
            self.predictor.requires_grad_(False)
        if self.detector is not None and detector == "fixed":
            self.detector.requires_grad_(False)
        self.train(self.training)

    @property
    def begin_pretrained(self) -> tuple[Classifier, ...]:
        """The parts that begin as the classifier that was trained on whole images."""
        parts = [self.predictor] if self.predictor_kind == "fixed" or self.hard else []
        if self.detector is not None and (self.detector_kind == "fixed" or self.hard):
            parts.append(self.detector)
        return tuple(parts)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Classify images from what the selector keeps of them.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            masks: one ``(B, 1, H, W)`` mask that takes the place of the selector's.

        Returns:
            A prediction whose ``attribution`` and only mask is S, ``(B, 1, H, W)``, and whose ``features`` are the
            predictor's on x_s. In training, ``extras`` hold ``detector_logits``, f_D(x_{1-s}), and the masks by which
            ``kept`` and ``left`` were shown: the gradient of the prediction, and of the detector, passes through them.

        Raises:
            ValueError: if there are more or fewer ``masks``, or the one lies on another grid.
        """
        mask = self.select(images) if masks is None else given_mask(masks, 0, 1, images.shape)
        kept = mask.view_as(mask)
        prediction = self._decide(images, kept)
        prediction.attributions[OWN], prediction.masks = mask, (mask,)
        prediction.interpolation = "nearest" if self.hard else "bilinear"
        if self.training:
            left = 1 - mask
            prediction.extras |= {"kept": kept, "left": left, "detector_logits": self.detect(images, left)}
        return prediction

    def select(self, images: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)``: the sigmoid of the selector's logits, or where they are positive."""
        logits = enlarge(self.selector(images), (images.shape[-2], images.shape[-1]))
        return binarize(logits, noise=False) if self.hard else logits.sigmoid()

    def _decide(self, images: Tensor, kept: Tensor) -> Prediction:
        """Return the predictor's prediction for what is kept.

        A fixed predictor that plays the detector's part too trains with one kind of statistics in both parts.
        """
        both = self.predictor_kind == "fixed" and self.detector is None and self.detector_bn == "batch"
        if self.training and both and isinstance(self.hiding, Fill):
            return _unchanged(self.predictor, self.hiding.blend(images, kept), batch=True)
        return self._show(self.predictor, images, kept)

    def detect(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of the detector, or of the predictor in its part, for images under a mask."""
        if self.detector is not None:
            return self._show(self.detector, images, mask).logits
        if isinstance(self.hiding, Fill):
            return _unchanged(self.predictor, self.hiding.blend(images, mask), batch=self.detector_bn == "batch").logits
        hard: Tensor = self.hiding(self.predictor, images, mask > 0.5).logits.detach()
        return hard + _only_gradient(_unchanged(self.predictor, GRADIENT_FILL.blend(images, mask)).logits)

    def classify(self, features: Tensor) -> Tensor:
        """Return the predictor's logits ``(B, K)`` for the ``features`` of a prediction."""
        return self.predictor.classify(features)

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return self.predictor.as_map(features)

    @property
    def plain_predictor(self) -> nn.Module:
        """The predictor, which decides from whatever pixels it is shown."""
        return self.predictor

    @property
    def plain_detector(self) -> nn.Module:
        """The detector; the predictor where it plays both parts."""
        return self.predictor if self.detector is None else self.detector

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the selector's backbone and of the classifiers' own."""
        classifiers = [self.predictor] if self.detector is None else [self.predictor, self.detector]
        own = [parameter for classifier in classifiers for parameter in classifier.backbone_parameters()]
        return [*self.selector.backbone.parameters(), *own]

    def train(self, mode: bool = True) -> COMETNetwork:
        """Switch to training mode; what is fixed, or has to keep its statistics, stays in evaluation mode."""
        super().train(mode)
        for part in self._in_evaluation():
            part.eval()
        return self

    def _in_evaluation(self) -> Iterator[nn.Module]:
        if self.predictor_kind == "fixed" or self.hard:
            yield self.predictor
        fixed = self.detector_kind == "fixed" and self.detector_bn == "eval"
        if self.detector is not None and (fixed or self.hard):
            yield self.detector

    def _show(self, classifier: Classifier, images: Tensor, mask: Tensor) -> Prediction:
        """Return what a classifier predicts from the part of the images that a mask keeps."""
        if isinstance(self.hiding, Fill):
            return cast(Prediction, classifier(self.hiding.blend(images, mask)))
        prediction: Prediction = self.hiding(classifier, images, mask > 0.5)
        if mask.requires_grad:
            stand_in = _unchanged(classifier, GRADIENT_FILL.blend(images, mask))
            prediction.logits = prediction.logits + _only_gradient(stand_in.logits)
        if prediction.features is None:  # dropped tokens fit no map
            prediction.features = classifier(GRADIENT_FILL.blend(images, mask)).features
        return prediction


def _unchanged(classifier: Classifier, images: Tensor, batch: bool = False) -> Prediction:
    """Run a classifier so that neither its weights get a gradient nor its statistics a batch.

    Args:
        classifier: whose modules are in their own modes afterwards.
        images: ``(B, 3, H, W)``.
        batch: whether batch norms use the statistics of the batch.
    """
    values = {name: parameter.detach() for name, parameter in classifier.named_parameters()}
    values |= {name: buffer.clone() for name, buffer in classifier.named_buffers()}
    modes = {module: module.training for module in classifier.modules()}
    try:
        return cast(Prediction, functional_call(classifier.train(batch), values, (images,)))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _only_gradient(values: Tensor) -> Tensor:
    """Return zeros with the gradient of ``values``."""
    return values - values.detach()
