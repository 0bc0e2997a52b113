"""A network that is asked about a sample, a part of it at a time: what it decides and shows if pixels change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import cast

import numpy as np
import torch
from torch import Tensor

from maskexp.attribution import add_attributions, map_title
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, Prediction

__all__ = ["Answers", "Questioning", "iou", "takes_masks"]

Change = Callable[[Tensor, Tensor], Tensor]
"""``(images, numbers) -> images``: changes images ``(B, 3, H, W)`` in [0, 1], whose numbers in the sample are given."""


@dataclass(frozen=True)
class Answers:
    """What a network says of all images of a sample.

    Attributes:
        logits: ``(N, K)``.
        shown: ``(N, 1, H, W)`` bool, the pixels that the mask shows: where the map is above the threshold.
        masks: the network's own masks, one tensor a stage, by which a decision can be repeated; empty where it has
            none.
    """

    logits: Tensor
    shown: Tensor
    masks: tuple[Tensor, ...]

    @property
    def decided(self) -> Tensor:
        """``(N,)`` int64, the predicted class."""
        return self.logits.argmax(dim=1)

    def probability(self, target: Tensor) -> Tensor:
        """Return ``(N,)``, the probability of a class of each image."""
        return self.logits.float().softmax(dim=1).gather(1, target[:, None])[:, 0]


class Questioning:
    """A network, a sample, and which map counts as the mask.

    Maps that are computed after the fact explain the class that is *predicted*: a map of the labelled class would carry
    the label into the mask.

    Args:
        network: in evaluation mode.
        sample: images as bytes or in [0, 1], with what is known of them.
        attribution: name of the map whose pixels above the threshold count as shown; ``own`` is the mask of a network
            that has one, and Grad-CAM of any other.
        threshold: in (0, 1).
        batch_size: images that are asked about at a time; it changes nothing but memory and time.
    """

    def __init__(
        self, network: Network, sample: Batch, attribution: str = OWN, threshold: float = 0.5, batch_size: int = 64
    ) -> None:
        self.network, self.sample = network, sample
        self.attribution, self.threshold, self.batch_size = attribution, threshold, batch_size
        self.has_masks = attribution == OWN and network.masked_stages > 0
        self.holds_masks = self.has_masks and takes_masks(network)
        self.explains_itself = False
        self.base = self.ask()

    @property
    def label(self) -> Tensor:
        """``(N,)`` int64."""
        return self.sample["label"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.sample["image"].shape[-2], self.sample["image"].shape[-1]

    @property
    def map_in_words(self) -> str:
        """What counts as the mask."""
        if self.has_masks:
            return "its mask" if self.threshold == 0.5 else f"its mask above {self.threshold:g}"
        if self.explains_itself:
            return f"its own map above {self.threshold:g} (it has no mask)"
        name = map_title("grad_cam" if self.attribution == OWN else self.attribution)
        masked = "in the place of its mask" if self.network.masked_stages else "it has no mask"
        return f"{name} of the predicted class above {self.threshold:g} ({masked})"

    def parts(self) -> Iterator[Tensor]:
        """Yield the numbers of the images, a part at a time."""
        yield from torch.split(torch.arange(len(self.label), device=self.label.device), self.batch_size)

    def images(self, numbers: Tensor) -> Tensor:
        """Return images ``(B, 3, H, W)`` float in [0, 1]."""
        found = self.sample["image"][numbers]
        return found.float() / 255 if found.dtype == torch.uint8 else found

    def ask(self, change: Change | None = None, masks: Sequence[Tensor] | None = None) -> Answers:
        """Ask about all images.

        Args:
            change: what is done to the images before; nothing if None.
            masks: ``(N, 1, h, w)`` a stage, to decide by in the place of the network's own.
        """
        logits, shown, own = list[Tensor](), list[Tensor](), list[tuple[Tensor, ...]]()
        for numbers in self.parts():
            images = self.images(numbers)
            images = images if change is None else change(images, numbers)
            given = None if masks is None else [stage[numbers] for stage in masks]
            prediction = self.predict(images, given)
            logits.append(prediction.logits.float())
            shown.append(self.shown(prediction, images))
            own.append(prediction.masks if self.has_masks else ())
        stages = zip(*own, strict=True)
        return Answers(torch.cat(logits), torch.cat(shown), tuple(torch.cat(stage) for stage in stages))

    def held(self, change: Change) -> Answers:
        """Ask about changed images with the masks of the unchanged ones.

        A network without masks decides as it does; of a network whose masks cannot be given from outside the masks are
        estimated anew.
        """
        return self.ask(change, self.base.masks if self.holds_masks else None)

    def predict(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Prediction:
        """Return the prediction, by masks in the place of the network's own where they are given."""
        return cast(Prediction, self.network(images) if masks is None else self.network(images, masks=masks))

    def shown(self, prediction: Prediction, images: Tensor) -> Tensor:
        """Return ``(B, 1, H, W)`` bool, which pixels the mask shows.

        Raises:
            ValueError: if the network has neither a mask nor features to compute a map from.
        """
        size = (images.shape[-2], images.shape[-1])
        self.explains_itself = self.attribution == OWN and OWN in prediction.attributions
        if self.attribution not in prediction.attributions:
            if prediction.features is None:
                raise ValueError(
                    "there is nothing to audit: the network has no mask, and no features to compute "
                    f"{self.attribution} from"
                )
            add_attributions(prediction, self.network, images, None, [self.attribution])
        found = cast(Tensor, prediction.attribution_at(size, self.attribution))
        return found > self.threshold

    def draws(self, count: int, *seed: int) -> Tensor:
        """Return ``(N, count)`` numbers in [0, 1) that depend on seed and rows of the split alone."""
        rows = self.sample["index"].tolist()
        drawn = np.stack([np.random.default_rng([*seed, row]).random(count) for row in rows])
        return torch.from_numpy(drawn).to(self.label.device)

    def draws_of_pixels(self, numbers: Tensor, channels: int, *seed: int) -> Tensor:
        """Return ``(B, channels, H, W)`` standard normal numbers that depend on seed and rows of the split alone."""
        rows = self.sample["index"][numbers].tolist()
        shape = (channels, *self.size)
        drawn = np.stack([np.random.default_rng([*seed, row]).standard_normal(shape, np.float32) for row in rows])
        return torch.from_numpy(drawn).to(self.label.device)

    def donors(self, same_class: bool | None, *seed: int) -> Tensor:
        """Return for each image the number of another one, -1 where there is none.

        Args:
            same_class: whether it has to be of the same class; of another one if False, of any if None.
            *seed: of the choice.
        """
        rank = torch.argsort(self.draws(1, *seed)[:, 0]).tolist()
        labels = self.label.tolist()
        chosen = []
        for place, number in sorted(enumerate(rank), key=lambda pair: pair[1]):
            others = (rank[(place + step) % len(rank)] for step in range(1, len(rank)))
            fits = (o for o in others if same_class is None or (labels[o] == labels[number]) == same_class)
            chosen.append(next(fits, -1))
        return torch.tensor(chosen, device=self.label.device)


def takes_masks(network: Network) -> bool:
    """Return whether the network decides by ``masks`` that are given to its ``forward``."""
    return "masks" in signature(network.forward).parameters


def only(which: Tensor, values: Tensor) -> Tensor:
    """Return ``values`` ``(N,)`` of the images in whose ``which`` ``(N, 1, H, W)`` there is a pixel; NaN of the others.

    An image of which nothing is hidden answers no question about what is hidden.
    """
    return torch.where(which.flatten(1).any(dim=1), values, torch.nan)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return ``(N,)``, intersection over union of bool masks ``(N, 1, H, W)``; NaN of two empty ones.

    Two masks that show nothing agree on nothing: were that an agreement, masks that vanish would be the most stable.
    """
    union = (first | second).flatten(1).sum(dim=1)
    both = (first & second).flatten(1).sum(dim=1)
    return torch.where(union > 0, both / union.clamp(min=1), torch.nan)
