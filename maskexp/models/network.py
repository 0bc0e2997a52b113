"""What every network offers beside its forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from maskexp.types import Prediction


class Network(nn.Module, ABC):
    """Images ``(B, 3, H, W)`` in [0, 1] in, :class:`~maskexp.types.Prediction` out.

    A network whose masks can be given from outside has an argument ``masks`` of ``forward``, one mask for each of those
    in its prediction, in their place; the audit holds and swaps masks by it.

    Attributes:
        masked_stages: how many masks a prediction holds.
        unexportable: why no fixed program can do what the forward pass does; empty where one can.
        reported: names of the ``extras`` of a prediction, one number an image, that are averaged over a split.
    """

    masked_stages: int = 0
    unexportable: str = ""
    reported: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, images: Tensor) -> Prediction:
        """Return the prediction for images; its ``features`` are the last spatial map before pooling."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Return logits ``(B, K)`` for the ``features`` of a prediction: what Grad-CAM differentiates."""

    def as_map(self, features: Tensor) -> Tensor:
        """Lay features, or their gradient, out as ``(B, C, h, w)``."""
        return features

    @property
    def plain_predictor(self) -> nn.Module:
        """What decides from whatever pixels it is shown: a part without a mask of its own, or else the whole network.

        It takes images as the network does and returns a :class:`~maskexp.types.Prediction`.
        """
        return self

    @property
    def plain_detector(self) -> nn.Module:
        """What looks for the class in the pixels that a mask leaves over: a part that was made for it, if there is one.

        It takes images as the network does and returns a :class:`~maskexp.types.Prediction`.
        """
        return self.plain_predictor

    @abstractmethod
    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that come with values of their own and learn at the backbone's rate."""
