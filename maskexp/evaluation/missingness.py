"""Missingness: what a network says when parts of the image are removed, by each way of hiding them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from maskexp.attribution.segments import create_segmenter, segment_counts
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.hiding import require_passage
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.subsets import check_every, check_seed, check_some, every_nth, select, with_foreground
from maskexp.masking.inputs import InputMasking, create_input_maskings
from maskexp.metrics.missingness import MissingnessCurve
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Missingness", "Order", "removal_ranks"]

Order = Literal["random", "most_salient", "least_salient"]
TENTHS = tuple(tenth / 10 for tenth in range(11))
IN_WORDS = {"random": "random order", "most_salient": "most salient first", "least_salient": "least salient first"}
LABELS = {
    "acc": "accuracy",
    "class_entropy": "class entropy (nats)",
    "unchanged": "unchanged predictions",
    "similarity": "similarity of prediction and label",
}


class Missingness(Evaluation):
    """Removes segments of each image, a fraction at a time, and follows the predictions for each way of hiding.

    A region that is removed should be missing, and not become content of its own: a network that is shown grey squares
    predicts what has squares. At each removed fraction *d* this gives the accuracy; the class entropy, which falls
    where many images are taken for the same few classes; the share of predictions that are those of the whole image,
    hidden in the same way; and the similarity of the predicted to the labelled class where a matrix is given.

    Which way of hiding is best depends on the network: layer masking keeps far more than grey on torchvision's
    ResNet-50, but a network that was trained with erasing and mixing augmentations (timm's ResNet-50) has seen such
    squares and does better under grey (both released curves of Balasubramanian & Feizi). Compare them on the network at
    hand.

    ``int(d * segments)`` segments of an image are removed. Unlike in the released code, no batch is left out for having
    many segments.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`).
        segments: what is removed as one, by name (:func:`maskexp.attribution.segments.create_segmenter`).
        orders: in which order: ``random``; ``most_salient`` or ``least_salient`` first, by the number of foreground
            pixels in a segment, which images without a foreground are left out of. Equals are in random order.
        fractions: of the segments, each in [0, 1].
        similarity: ``.npy`` file with a (classes, classes) matrix of similarities ``[predicted, label]``.
        every: judge only rows of the split that are a multiple of this; there are ``len(hiding) * len(segments) *
            len(orders) * len(fractions)`` forward passes for each, one more per curve if 0 is none of the fractions.
        seed: of the random order, which depends on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.

    Source:
        Jain et al., "Missingness Bias in Model Debugging", ICLR 2022; Balasubramanian & Feizi, "Towards Improved Input
        Masking for CNNs", ICCV 2023 (released code).
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("black", "grey", "edge_smoothed", "layer"),
        segments: Sequence[str] = ("patches16",),
        orders: Sequence[Order] = get_args(Order),
        fractions: Sequence[float] = TENTHS,
        similarity: str | None = None,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_every(every)
        check_seed(seed)
        check_some(segments=segments, orders=orders, fractions=fractions)
        if unknown := sorted(set(orders) - set(get_args(Order))):
            raise ValueError(f"there is no order {unknown[0]!r}; choose {', '.join(get_args(Order))}")
        if outside := [fraction for fraction in fractions if not 0 <= fraction <= 1]:
            raise ValueError(f"a removed fraction is {outside[0]}; it must be in [0, 1]")
        self.hiding = create_input_maskings(hiding)
        self.segmenters = {name: create_segmenter(name) for name in segments}
        self.orders, self.fractions, self.every, self.seed = tuple(orders), tuple(fractions), every, seed
        self.similarity = None if similarity is None else read_similarity(similarity)
        self.counts = nn.ModuleDict()

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; refuse an order by saliency on data that has no foreground."""
        if spec.foreground == "none" and self.orders != ("random",):
            raise ValueError(
                f"{spec.name} has no foregrounds, without which segments have no order by saliency; give Missingness "
                "orders: [random]"
            )
        require_passage("Missingness", network, self.hiding, spec.image_size)
        self.counts = nn.ModuleDict(
            {
                f"{hiding}/{segments}/{order}": MissingnessCurve(spec.num_classes, len(self.fractions), self.similarity)
                for hiding in self.hiding
                for segments in self.segmenters
                for order in self.orders
            }
        )

    @torch.no_grad()
    def update(self, classifier: ExplainableClassifier, batch: Batch, prediction: Prediction) -> None:
        """Count a batch; the prediction is not needed, each way of hiding is compared with itself."""
        batch = every_nth(batch, self.every)
        cuts = {name: segmenter(batch["image"]) for name, segmenter in self.segmenters.items()}
        known = with_foreground(batch)
        for order in self.orders:
            rows = (torch.ones_like(known) if order == "random" else known).nonzero()[:, 0]
            if not len(rows):
                continue
            part = select(batch, rows)
            for name, segments in cuts.items():
                self._count(classifier.network, part, order, name, segments[rows])

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return means over the removed fractions, of each curve and over all segments and orders.

        Returns:
            ``missingness/<hiding>/<segments>/<order>/<quantity>`` and ``missingness/<hiding>/<quantity>``, where a
            quantity is ``acc``, ``class_entropy``, ``unchanged`` or ``similarity``.
        """
        values: dict[ResultKey, Tensor] = {}
        for hiding in self.hiding:
            means: dict[str, list[Tensor]] = {}
            for key, curve in self._curves().items():
                if key.split("/")[0] == hiding:
                    for quantity, line in curve.items():
                        values[ResultKey("missingness", f"{key}/{quantity}")] = line.mean()
                        means.setdefault(quantity, []).append(line.mean())
            values |= {
                ResultKey("missingness", f"{hiding}/{name}"): torch.stack(all_of).mean()
                for name, all_of in means.items()
            }
        return values

    def charts(self) -> list[Chart]:
        """Return each quantity over the removed fraction, one line a way of hiding."""
        computed = self._curves()
        quantities = next(iter(computed.values())).keys() if computed else ()
        return [
            Chart(
                f"missingness/{segments}_{order}_{quantity}",
                f"removed fraction ({segments}, {IN_WORDS[order]})",
                LABELS[quantity],
                self.fractions,
                {name: computed[f"{name}/{segments}/{order}"][quantity].tolist() for name in self.hiding},
            )
            for segments in self.segmenters
            for order in self.orders
            for quantity in quantities
        ]

    def _curves(self) -> dict[str, dict[str, Tensor]]:
        # torchmetrics makes a scalar of what has one element
        return {
            name: {key: value.reshape(-1) for key, value in cast(MissingnessCurve, metric).compute().items()}
            for name, metric in self.counts.items()
        }

    def _count(self, network: Network, batch: Batch, order: Order, name: str, segments: Tensor) -> None:
        """Count one order of removal of one kind of segments for all ways of hiding."""
        images, count = batch["image"], segment_counts(segments)
        ranks = removal_ranks(order, segments, batch["foreground"][:, 0], batch["index"], self.seed)
        for way, hiding in self.hiding.items():
            predicted = []
            for fraction in self.fractions:
                removed = [int(fraction * n + 1e-9) for n in count.tolist()]  # 0.53 * 100 is a little less than 53
                visible = (ranks >= torch.tensor(removed, device=ranks.device)[:, None, None])[:, None]
                predicted.append(_predict(hiding, network, images, visible))
            reference = predicted[self.fractions.index(0.0)] if 0.0 in self.fractions else None
            if reference is None:
                reference = _predict(hiding, network, images, torch.ones_like(ranks, dtype=torch.bool)[:, None])
            metric = cast(MissingnessCurve, self.counts[f"{way}/{name}/{order}"])
            metric.update(torch.stack(predicted), reference, batch["label"])


def removal_ranks(order: Order, segments: Tensor, foreground: Tensor, index: Tensor, seed: int = 0) -> Tensor:
    """Say at which place in the order of removal the segment of each pixel stands.

    Args:
        order: see :class:`Missingness`.
        segments: ``(B, H, W)`` int64.
        foreground: ``(B, H, W)`` bool.
        index: ``(B,)`` int64 rows of the images in their split.
        seed: of the random order.

    Returns:
        ``(B, H, W)`` int64, 0 for the segment that is removed first.
    """
    ranks = [
        _ranks_of_one(order, one, inside, np.random.default_rng([seed, row]))
        for one, inside, row in zip(segments.cpu().numpy(), foreground.cpu().numpy(), index.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(ranks)).to(segments.device)


def read_similarity(path: str) -> Tensor:
    """Read a square matrix from a ``.npy`` file, without running code that it may hold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no similarity matrix {path!r}; give a .npy file, or omit it")
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no .npy file that can be read safely: {error}") from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds no array of numbers; save the similarity matrix alone, with numpy.save")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"{path} holds {matrix.shape} values; a similarity matrix is square and finite")
    return torch.from_numpy(matrix.astype(np.float64))


def _ranks_of_one(
    order: Order, segments: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_], draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    shuffled = draw.permutation(int(segments.max()) + 1)
    if order != "random":
        salience = np.bincount(segments[foreground], minlength=len(shuffled))[shuffled]
        shuffled = shuffled[np.argsort(-salience if order == "most_salient" else salience, kind="stable")]
    ranks = np.empty_like(shuffled)
    ranks[shuffled] = np.arange(len(shuffled))
    return ranks[segments]


def _predict(hiding: InputMasking, network: nn.Module, images: Tensor, visible: Tensor) -> Tensor:
    prediction: Prediction = hiding(network, images, visible)
    return prediction.logits.argmax(dim=1)
