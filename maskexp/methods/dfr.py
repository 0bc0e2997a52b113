"""DFR: the last layer of a trained classifier, trained again on as many images of each group.

Kirichenko, Izmailov, Wilson: "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations", ICLR 2023
(arXiv 2204.02937).

A network that was trained as usual knows the object and its surroundings; what it decides from is a matter of its last
layer. That layer is replaced by logistic regressions with an L1 penalty on standardised features, each on a random
subset with equally many images of each group, averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor, nn

from maskexp.methods.base import Method
from maskexp.methods.erm import ERM
from maskexp.methods.passes import over_split
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.methods.supervision import Supervision
from maskexp.models import Classifier
from maskexp.models.network import Network
from maskexp.types import Batch, DataModule, DataSpec, Prediction, required_datamodule

MOST_DRAWS = 100
"""Random halves that are tried until both have every group."""
C_GRID = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""Inverse penalties that the released code tries on WaterBirds, in its order: the first of equals wins."""

Features = NDArray[np.float64]
Numbers = NDArray[np.int64]
Split = tuple[Features, Numbers, Numbers]
"""Features ``(N, D)``, labels and groups ``(N,)``."""


class DFR(Method):
    """A classifier whose last layer learns again from group-balanced images; the attribution is Grad-CAM.

    "maskexp fit" trains the classifier first, an ERM with the same settings and all of ``trainer.max_epochs``, unless
    its checkpoint is given. DFR itself then takes one step of no gradient: it reads the features of the training and
    the validation images once. C is chosen by the worst group of the validation images that a fit did not see.

    With ``balanced: validation``, which is what the paper calls DFR^Val_Tr, the last layer has seen the validation
    images: numbers on them are no estimate of anything, and those on the test images are.

    Args:
        balanced: Images that the last layer learns from, "validation" (paper: the stronger one) or "training" (paper:
            DFR^Tr_Tr, which needs the groups of the training images as well).
        fits: Balanced subsets, each with a regression of its own, that the last layer is the mean of, at least 1
            (released code: 20; 10 with training images).
        c_values: Inverse strengths C of the L1 penalty to choose from, above 0; those of the released code for
            WaterBirds, 1 to 0.01, if null.
        tuning_splits: Random halves of the validation images over which C is chosen, at least 1; only with balanced:
            validation (released code: 1).
        draw_seed: Seed of halves and subsets, at least 0 (ours: 0).
        classifier_checkpoint: Checkpoint of an ERM, the classifier to begin with; "maskexp fit" trains it first if null
            (ours: null).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`, with which the classifier is trained.

    Raises:
        ValueError: if an argument is out of range; later, if the data has no groups, or one of them no image to learn
            from.
    """

    supervision: Supervision = "group labels in validation"

    def __init__(
        self,
        balanced: Literal["validation", "training"] = "validation",
        fits: int = 20,
        c_values: list[float] | None = None,
        tuning_splits: int = 1,
        draw_seed: int = 0,
        classifier_checkpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if balanced not in ("validation", "training"):
            raise ValueError(f"balanced is {balanced!r}; the last layer learns from validation or training images")
        for name, value, least in (("fits", fits, 1), ("tuning_splits", tuning_splits, 1), ("draw_seed", draw_seed, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        if c_values is not None and not (c_values and all(0 < value < math.inf for value in c_values)):
            raise ValueError(f"c_values are {c_values}; give at least one, each above 0 and finite")
        self.automatic_optimization = False
        self.balanced = balanced
        if balanced == "training":
            self.supervision = "group labels in training"
        self.fits = fits
        self.c_values = tuple(c_values or C_GRID)
        self.tuning_splits = tuning_splits
        self.draw_seed = draw_seed
        self.classifier_checkpoint = classifier_checkpoint

    # --- data and network ----------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the timm network with its own pooling and a new head.

        Raises:
            ValueError: if its last layer is not linear.
        """
        network = Classifier(self.backbone, spec.num_classes, weights, spec.image_size)
        _last_layer(network)
        return network

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier, unless it is given."""
        with torch.device("meta"):  # what cannot be retrained is refused before anything is trained
            self.configure_network(spec, None)
        if self.classifier_checkpoint is not None:
            return None
        return Pretraining("classifier", "ERM", common_arguments(self.hparams), None, "classifier_checkpoint")

    def check_training(self, data: DataModule) -> None:
        """Refuse data without groups, or with a group that has no image to learn from."""
        spec = data.spec
        if not spec.num_groups:
            raise ValueError(
                f"DFR needs the group labels of the {self.balanced} images, and the data {spec.name} has no groups; "
                "use data with an attribute, or ERM or JTT"
            )
        splits = ("val",) if self.balanced == "validation" else ("train", "val")
        for split in splits:
            groups = np.asarray(data.dataset(split).group)
            present = np.bincount(groups[groups >= 0], minlength=spec.num_groups)
            # The strength of the penalty is chosen between two halves of the images that are learned from.
            least = 2 if split == "val" and self.balanced == "validation" else 1
            if few := [name for name, count in zip(spec.group_names, present, strict=True) if count < least]:
                lack = "no image" if least == 1 else f"fewer than {least} images"
                raise ValueError(
                    f"DFR balances groups, and {', '.join(few)} of {spec.name} has {lack} in split {split!r}; use data "
                    "in which every group has enough, or ERM or JTT"
                )

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the network; a training begins with the trained classifier."""
        begins = pretrained and not self.is_built
        super().build(spec)
        if begins:
            trained = begin_with(self.classifier_checkpoint, ERM, "classifier", self, spec)
            self.network.load_state_dict(trained.network.state_dict())

    # --- the last layer ------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Return none: the last layer is solved for."""
        return None

    def on_train_start(self) -> None:
        """Read the features, choose C, and replace the last layer.

        Raises:
            ValueError: if the trainer has no datamodule of ours.
        """
        data = required_datamodule(self.trainer, "DFR")
        self.check_training(data)
        self.network.eval()
        of = {split: self._read(split, data) for split in ("train", "val")}
        rng = np.random.default_rng(self.draw_seed)
        c = choose_c(of["train"], of["val"], self.balanced, self.c_values, self.tuning_splits, rng)
        source = of["val" if self.balanced == "validation" else "train"]
        weight, bias = retrained(source, of["train"][0], c, self.fits, rng)
        rank_zero_info("DFR: C = %g; %d of %d weights are not zero", c, np.count_nonzero(weight), weight.size)
        layer = _last_layer(self.network)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))

    @torch.no_grad()
    def _read(self, split: str, data: DataModule) -> Split:
        """Return what the last layer sees of each image of a split, with labels and groups."""
        layer, network = _last_layer(self.network), self.network

        def seen(images: Tensor, _: Tensor, __: Tensor) -> Tensor:
            caught: list[Tensor] = []
            hook = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
            try:
                network(images)
            finally:
                hook.remove()
            return caught[0].float()

        features = over_split(self.trainer, split, "DFR", seen).double().numpy()
        rows = data.dataset(split)
        return features, np.asarray(rows.label), np.asarray(rows.group)

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Do nothing, once: the last layer is there already, and what is left is to judge and to keep it."""
        self.trainer.should_stop = True

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return no term: nothing is learned by gradients."""
        return {}


def choose_c(
    train: Split,
    val: Split,
    balanced: str,
    c_values: Sequence[float],
    splits: int,
    rng: np.random.Generator,
) -> float:
    """Return the C whose classifier is best on the worst group of validation images that it did not learn from.

    As the released code does: with balanced validation images, one half of the split is fitted on, after it was
    balanced and with the scale of its own, and the other judges; with training images, a balanced subset of these is
    fitted on, and the whole validation split judges.

    Args:
        train: features, labels and groups of the training images.
        val: of the validation images.
        balanced: ``validation`` or ``training``.
        c_values: to choose from; the first of equals wins.
        splits: halves that the worst groups' accuracies are summed over.
        rng: of the draws.
    """
    scores = np.zeros(len(c_values))
    for _ in range(splits if balanced == "validation" else 1):
        if balanced == "validation":
            judged, learned = _halves(val, rng)
            learned = _rows(learned, balanced_subset(learned[2], rng))
            mean, scale = _standard(learned[0])
        else:
            judged, learned = val, _rows(train, balanced_subset(train[2], rng))
            mean, scale = _standard(train[0])
        for i, c in enumerate(c_values):
            weight, bias = logistic_regression((learned[0] - mean) / scale, learned[1], _classes(train, val), c)
            right = ((judged[0] - mean) / scale @ weight.T + bias).argmax(axis=1) == judged[1]
            scores[i] += min(right[judged[2] == group].mean() for group in np.unique(judged[2][judged[2] >= 0]))
    return c_values[int(scores.argmax())]


def _halves(val: Split, rng: np.random.Generator) -> tuple[Split, Split]:
    """Return two random halves of the validation images that both have every group; drawn again until they do."""
    groups = np.unique(val[2][val[2] >= 0])
    for _ in range(MOST_DRAWS):
        order = rng.permutation(len(val[0]))
        half = len(order) // 2
        halves = _rows(val, order[:half]), _rows(val, order[half:])
        if all(np.isin(groups, found).all() for _, _, found in halves):
            return halves
    raise ValueError(
        f"{MOST_DRAWS} random halves of the validation images left a group out; DFR needs more images of its smallest "
        "group, or --model.balanced training"
    )


def retrained(
    source: Split, train: Features, c: float, fits: int, rng: np.random.Generator
) -> tuple[Features, Features]:
    """Return the mean of regressions on balanced subsets, as a layer on the features as they are.

    Args:
        source: features, labels and groups of the images to learn from.
        train: features of the training images, whose scale is the standard.
        c: inverse strength of the penalty.
        fits: how many.
        rng: of the subsets.

    Returns:
        Weight ``(K, D)`` and bias ``(K,)``.
    """
    mean, scale = _standard(train)
    standardised = ((source[0] - mean) / scale, *source[1:])
    classes = int(source[1].max()) + 1
    layers = []
    for _ in range(fits):
        features, labels, _groups = _rows(standardised, balanced_subset(source[2], rng))
        layers.append(logistic_regression(features, labels, classes, c))
    weight = np.mean([layer[0] for layer in layers], axis=0) / scale
    bias = np.mean([layer[1] for layer in layers], axis=0) - weight @ mean
    return weight, bias


def balanced_subset(groups: Numbers, rng: np.random.Generator) -> Numbers:
    """Return rows that hold every group as often as the smallest one is there, drawn without replacement.

    Args:
        groups: ``(N,)``, -1 where there is none.
        rng: of the draw.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups[groups >= 0])]
    size = min(map(len, members))
    return np.concatenate([rng.permutation(rows)[:size] for rows in members])


def logistic_regression(features: Features, labels: Numbers, classes: int, c: float) -> tuple[Features, Features]:
    """Fit by L1-penalised logistic regression; of more than two classes, each against all others.

    Args:
        features: ``(N, D)`` standardised.
        labels: ``(N,)``.
        classes: K.
        c: inverse strength of the penalty, which liblinear puts on the intercept as well.

    Returns:
        Weight ``(K, D)`` and bias ``(K,)``. Of two classes they are half a regression's coefficients each, with
        opposite signs, so that the softmax of the logits is the regression's probability.
    """
    # Imported here: it would cost every start of the command line a quarter of a second.
    from sklearn.linear_model import LogisticRegression

    def binary(positive: int) -> tuple[Features, float]:
        solved = LogisticRegression(C=c, l1_ratio=1.0, solver="liblinear", random_state=0)
        solved.fit(features, labels == positive)
        return solved.coef_[0], float(solved.intercept_[0])

    if classes == 2:
        weight, bias = binary(1)
        return np.stack([-weight, weight]) / 2, np.array([-bias, bias]) / 2
    fitted = [binary(label) for label in range(classes)]
    return np.stack([weight for weight, _ in fitted]), np.array([bias for _, bias in fitted])


def _last_layer(network: Network) -> nn.Linear:
    """Return the linear layer that gives the logits."""
    layer = cast(Classifier, network).network.get_classifier()
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise ValueError(
            f"DFR trains a linear last layer again, and that of {type(cast(Classifier, network).network).__name__} is "
            f"none; choose another --model.backbone"
        )
    return layer


def _standard(features: Features) -> tuple[Features, Features]:
    """Return mean and standard deviation ``(D,)``, 1 where a feature is constant."""
    scale = features.std(axis=0)
    return features.mean(axis=0), np.where(scale > 0, scale, 1.0)


def _rows(split: Split, rows: Numbers) -> Split:
    return split[0][rows], split[1][rows], split[2][rows]


def _classes(*splits: Split) -> int:
    return max(int(labels.max()) for _, labels, _ in splits) + 1
