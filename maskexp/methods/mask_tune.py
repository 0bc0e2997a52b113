"""MaskTune: one more epoch without what the classifier looks at most.

Asgari Taghanaki, Khani, Khani, Gholami, Tran, Mahdavi-Amiri, Hamarneh: "MaskTune: Mitigating Spurious Correlations by
Forcing to Explore", NeurIPS 2022 (arXiv 2210.00055).

A classifier is trained as usual. Its heat map of each training image, for the class that it predicts, tells the part
that it looks at most: the pixels above mean + 2 standard deviations of the map's positive values. They are made black,
and the classifier is trained for one more epoch, on the masked images alone. The released code can go on: the tuned
classifier's maps tell what is made black next, for another epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from maskexp.attribution import attribution_map, require_maps
from maskexp.methods.base import Method
from maskexp.methods.checkpoint import read_checkpoint
from maskexp.methods.erm import ERM
from maskexp.methods.optimization import create_optimizer, regrouped, require_in_range
from maskexp.methods.passes import over_split
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models import Classifier
from maskexp.models.network import Network
from maskexp.types import Batch, DataModule, DataSpec, Prediction


class MaskTune(Method):
    """A classifier that is trained on without what it looks at most; the attribution is Grad-CAM.

    "maskexp fit" trains the classifier first, an ERM with the same settings and all of ``trainer.max_epochs``, unless
    its checkpoint is given. Then the training images are masked and ``finetuning_epochs`` follow, at the constant rates
    ``lr`` and ``backbone_lr``; the state of the classifier's optimiser goes on where it is of the same kind.

    Args:
        finetuning_epochs: Epochs on masked images in each round, at least 1 (paper: 1).
        iterations: Rounds of masking and fine-tuning, at least 1; from the second on, what is hidden is what the tuned
            classifier looks at most (released code: 1, up to 3 are an option).
        accumulate: Whether a further round looks at the images that were masked before, and hides more of them, instead
            of looking at whole images and hiding something else (released code: false, true is an option).
        heat_map: Name of the map that tells what is looked at, any of maskexp.attribution (released code: xgrad_cam).
        deviations: Standard deviations above the mean of a map's positive values from which pixels are hidden, at least
            0 (paper: 2).
        classifier_checkpoint: Checkpoint of an ERM, the classifier to begin with; "maskexp fit" trains it first if null
            (ours: null).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`, with which the classifier is trained.

    Attributes:
        hides: which pixels of a training image are hidden, by its row, for the datamodule; None until it is known.
        rounds: of masking that have begun.

    Raises:
        ValueError: if an argument is out of range; later, if the data is not loaded by a datamodule that hides parts of
            images.
    """

    def __init__(
        self,
        finetuning_epochs: int = 1,
        iterations: int = 1,
        accumulate: bool = False,
        heat_map: str = "xgrad_cam",
        deviations: float = 2.0,
        classifier_checkpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in {"finetuning_epochs": finetuning_epochs, "iterations": iterations}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if accumulate and iterations == 1:
            raise ValueError("accumulate adds to what earlier rounds hide, and iterations is 1; give more, or omit it")
        self.finetuning_epochs = finetuning_epochs
        self.iterations = iterations
        self.accumulate = accumulate
        require_in_range("deviations", deviations, 0)
        attribution_map(heat_map)
        self.heat_map = heat_map
        self.deviations = deviations
        self.classifier_checkpoint = classifier_checkpoint
        self.hides: MostAttended | None = None
        self.rounds = 0

    # --- the first training --------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the timm network with its own pooling and a new head."""
        return Classifier(self.backbone, spec.num_classes, weights, spec.image_size, self.frozen_backbone)

    def check_training(self, data: DataModule) -> None:
        """Refuse images in which the place of what is to be hidden cannot be found."""
        if (find := getattr(data, "geometry_to_hide_by", None)) is not None:
            find(self)

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier, unless it is given."""
        with torch.device("meta"):  # what the map cannot explain is refused before anything is trained
            require_maps(self.configure_network(spec, None), [self.heat_map])
        if self.classifier_checkpoint is not None:
            return None
        return Pretraining("classifier", "ERM", common_arguments(self.hparams), None, "classifier_checkpoint")

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the network; its first weights are the classifier's."""
        super().build(spec)

    # --- masking -------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Begin with the classifier, find out what to hide, and return its optimiser at its own constant rates."""
        # Otherwise a checkpoint has brought weights and maps, and an optimiser's state of its own follows.
        begins = self.hides is None
        if self.hides is None:
            trained = begin_with(self.classifier_checkpoint, ERM, "classifier", self, cast(DataSpec, self.spec))
            self.network.load_state_dict(trained.network.state_dict())
            self._hide_next(0)
        now = self._parameter_groups()
        optimizer = create_optimizer(self.optimizer_name, now, self.lr)
        if not begins:
            return optimizer
        former = read_checkpoint(cast(str, self.classifier_checkpoint))
        settings, states = former["hyper_parameters"], former.get("optimizer_states") or []
        before = self._parameter_groups(settings)
        same_kind = settings.get("optimizer") == self.optimizer_name and len(states) == 1
        if same_kind and _sizes(states[0]["param_groups"]) == _sizes(before):
            optimizer.load_state_dict(regrouped(states[0], before, now))
        return optimizer

    def _hide_next(self, done: int) -> None:
        """Find out what the network looks at most in each training image, to hide it from now on.

        Args:
            done: rounds before this one.
        """
        self.network.to(self.trainer.strategy.root_device).eval()
        explain = attribution_map(self.heat_map)

        @torch.no_grad()
        def heat(images: Tensor, _: Tensor, rows: Tensor) -> Tensor:
            if self.accumulate and self.hides is not None:
                hidden = torch.stack([self.hides(row) for row in rows.tolist()])
                images = images.masked_fill(hidden[:, None].to(images.device), 0)
            prediction = self.network(images)
            return explain(self.network, images, prediction.logits.argmax(dim=1), prediction.features)[:, 0]

        maps = over_split(self.trainer, "train", "MaskTune", heat)
        self.network.train()  # Lightning leaves modes as they are
        if self.hides is None:
            rounds = maps.new_zeros(self.iterations if self.accumulate else 1, *maps.shape)
            self.hides = MostAttended(rounds, cast(DataSpec, self.spec).image_size, self.deviations)
        self.hides.heat_maps[done if self.accumulate else 0] = maps
        self.rounds = done + 1
        shares = torch.tensor([float(self.hides(row).float().mean()) for row in range(len(maps))])
        rank_zero_info(
            "MaskTune: %shides %.1f %% of a training image on average, and nothing in %d of %d",
            f"round {self.rounds} of {self.iterations} " if self.iterations > 1 else "",
            *(100 * float(shares.mean()), int((shares == 0).sum()), len(shares)),
        )

    # --- fine-tuning ---------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Build the network; let the fine-tuning last as long as it should."""
        super().setup(stage)
        if stage == "fit":
            self.trainer.fit_loop.max_epochs = self.finetuning_epochs * self.iterations

    def on_train_start(self) -> None:
        """Make sure that images are masked as they should be.

        Raises:
            ValueError: if the loader shows whole images.
        """
        super().on_train_start()
        samples = getattr(getattr(self.trainer.train_dataloader, "dataset", None), "samples", None)
        if self.hides is None or getattr(getattr(samples, "trainable", None), "hides", None) is not self.hides:
            raise ValueError("MaskTune trains on images of which a part is black; it needs a datamodule of maskexp")

    def on_train_epoch_start(self) -> None:
        """Begin a further round where it is time for one."""
        super().on_train_epoch_start()
        done = self.current_epoch // self.finetuning_epochs
        if self.rounds <= done:  # a resumed training may have begun this one already
            self._hide_next(done)

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy on masked images."""
        return {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])}

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is hidden, which a resumed training goes on with."""
        super().on_save_checkpoint(checkpoint)
        if self.hides is not None:
            # A copy: a later round writes over it, and shared memory would be stored as such.
            checkpoint["heat_maps"] = self.hides.heat_maps.clone()
            checkpoint["masking_rounds"] = self.rounds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network if need be, and let a resumed training hide what it did."""
        super().on_load_checkpoint(checkpoint)
        if isinstance(stored := checkpoint.get("heat_maps"), Tensor):
            self.rounds = int(checkpoint.get("masking_rounds", 1))
            rounds = stored if stored.ndim == 4 else stored[None]  # version 0.1 began without further rounds
            self.hides = MostAttended(rounds, cast(DataSpec, self.spec).image_size, self.deviations)


def _sizes(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    return [len(group["params"]) for group in groups]


class MostAttended:
    """What was looked at most in each of many images, in any of several rounds.

    Args:
        heat_maps: ``(R, N, h, w)`` at least 0; a map of zeros, such as of a round that is still to come, hides nothing.
        size: (height, width) in pixels of the images.
        deviations: see :func:`most_attended`.

    Attributes:
        heat_maps: the same in shared memory, so that what is written there reaches the processes that load images.
    """

    def __init__(self, heat_maps: Tensor, size: tuple[int, int], deviations: float) -> None:
        self.heat_maps = heat_maps.clone().share_memory_()  # type: ignore[no-untyped-call]
        self.size, self.deviations = size, deviations

    def __call__(self, row: int) -> Tensor:
        """Return the part of one image, ``(H, W)`` bool."""
        return most_attended(self.heat_maps[:, row, None], self.size, self.deviations).any(dim=0)


def most_attended(heat: Tensor, size: tuple[int, int], deviations: float = 2.0) -> Tensor:
    """Return where a heat map exceeds the mean of its positive values by some standard deviations.

    As in the released code, maps begin at 0, the threshold is one of the map at full size, and the deviation is that of
    the population (no ``n - 1``). Nothing exceeds it in a constant map.

    Args:
        heat: ``(B, 1, h, w)``.
        size: (height, width) in pixels of the image.
        deviations: standard deviations above the mean.

    Returns:
        ``(B, H, W)`` bool.

    Example:
        >>> heat = torch.tensor([[[[0.0, 0.1, 0.2], [0.3, 0.4, 1.0], [0.0, 0.0, 0.5]]]])
        >>> most_attended(heat, (3, 3)).nonzero().tolist()
        [[0, 1, 2]]
    """
    heat = heat.float() - heat.float().amin(dim=(1, 2, 3), keepdim=True)
    full = F.interpolate(heat, size=size, mode="bilinear", align_corners=False)[:, 0]
    positive = full > 0
    count = positive.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    mean = (full * positive).sum(dim=(1, 2), keepdim=True) / count
    variance = ((full - mean).square() * positive).sum(dim=(1, 2), keepdim=True) / count
    return positive & (full > mean + deviations * variance.sqrt())
