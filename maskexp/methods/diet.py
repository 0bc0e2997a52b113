r"""DiET: a classifier is distilled into one that needs no more of an image than a mask of it shows.

Bhalla, Srinivas, Lakkaraju: "Discriminative Feature Attributions: Bridging Post Hoc Explainability and Inherent
Interpretability", NeurIPS 2023, in the form of the authors' released code.

With a mask :math:`m` of its own for each training image, and probabilities of student :math:`f_s` and teacher
:math:`f_b`:

:math:`\min_{m, f_s} \|f_b(x) - f_s(x)\|_1 + \|f_s(x) - f_s(x_m)\|_1 + w \bar m`,

in five rounds, each first over the masks and then over the student, with masks that are rounded, more of them upwards
in the first rounds. The mask of a new image is found by the same descent, the student being fixed.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from maskexp.methods.base import Method, batch_accuracy
from maskexp.methods.checkpoint import CheckpointError
from maskexp.methods.epochs import planned_epochs
from maskexp.methods.erm import ERM
from maskexp.methods.optimization import require_in_range
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models.classifier import Classifier
from maskexp.models.diet import DiETNetwork, distance, random_colours, show
from maskexp.models.network import Network
from maskexp.types import Batch, DataModule, DataSpec, Prediction, attached_datamodule

__all__ = ["DiET"]

ROUNDS = 5
"""Rounds, each of a phase of the masks and a phase of the student (released code)."""


def round_settings(number: int) -> tuple[float, float]:
    """Return the weight of the area and what is added to masks before rounding, in a round from 0 (released code)."""
    return 1 - 0.18 * number, 0.4 - 0.08 * number


class DiET(Method):
    """DiET; the defaults are those of the released code.

    Phases are counted in epochs: each of the ten lasts a tenth of ``trainer.max_epochs``, which has to be at least ten.
    The released code ends a phase where its loss stays the same; how long that took is not known. Augmentation that
    moves pixels is refused, because a mask belongs to an image as it lies. The masks of the training images lie in the
    checkpoint: ``N h w`` numbers. The last one is kept: accuracy is
    best before the student is asked for anything.

    Args:
        mask_cell: Pixels a side of a cell of a mask, at least 1 (released code: 4 or 8).
        mask_lr: What the area alone takes from each cell in a step of the descent, times its weight, above 0 (ours:
            0.025, which is the 5000 of the released code, 300 to 5000, for the mean loss of a batch of 64 and masks of
            56 × 56 cells; its batch size is not known).
        explain_steps: Steps of the descent in evaluation, at least 1 (ours: 100; the released code goes on until the
            loss of the whole test set stays the same).
        classifier_checkpoint: Checkpoint of an ERM, which is distilled; "maskexp fit" trains it first if null.
        classifier_epochs: Epochs of that training, at least 1; as many as DiET's if null (ours).
        backbone: Network of teacher and student, by timm's name or as one of our variants (COMET's release:
            resnet18).
        weights: First weights of the teacher, where it is trained first: "timm", a file, or null
            (COMET's release: null).
        optimizer: Optimiser of timm by its name, of the student (released code: adam).
        lr: Learning rate of the student's head, at least 0 (released code: 1e-4; COMET's release: 5e-3).
        backbone_lr: Learning rate of the student's backbone, at least 0 (released code: 1e-4; COMET's configuration:
            5e-3).
        weight_decay: Weight decay, at least 0 (released code: 0).
        schedule: Learning rate over the steps of the student (released code: constant).
        warmup_epochs: Epochs of linear warm-up (released code: 0).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is impossible.
    """

    selection = "last"

    def __init__(
        self,
        mask_cell: int = 4,
        mask_lr: float = 0.025,
        explain_steps: int = 100,
        classifier_checkpoint: str | None = None,
        classifier_epochs: int | None = None,
        backbone: str = "resnet18",
        weights: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-4,
        backbone_lr: float = 1e-4,
        weight_decay: float = 0.0,
        schedule: Any = "constant",
        warmup_epochs: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone,
            weights=weights,
            optimizer=optimizer,
            lr=lr,
            backbone_lr=backbone_lr,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_epochs=warmup_epochs,
            **kwargs,
        )
        require_in_range("mask_cell", mask_cell, 1)
        require_in_range("mask_lr", mask_lr, 0, above=True)
        require_in_range("explain_steps", explain_steps, 1)
        self.classifier_checkpoint = classifier_checkpoint
        self.classifier_epochs = classifier_epochs
        self.network_options: dict[str, Any] = {
            "mask_cell": mask_cell,
            "mask_lr": mask_lr,
            "explain_steps": explain_steps,
            "area_weight": round_settings(ROUNDS - 1)[0],
        }
        self.masks: Tensor | None = None

    # --- the networks --------------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return student and teacher; their weights come with the classifier."""
        return DiETNetwork(self.backbone, spec.num_classes, image_size=spec.image_size, **self.network_options)

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the classifier that is distilled, unless it is given."""
        if self.classifier_checkpoint is not None:
            return None
        arguments = common_arguments(self.hparams)
        return Pretraining("classifier", "ERM", arguments, self.classifier_epochs, "classifier_checkpoint")

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the networks; a training begins with the trained classifier."""
        begins = pretrained and not self.is_built
        super().build(spec, pretrained)
        if begins:
            trained = begin_with(self.classifier_checkpoint, ERM, "classifier", self, spec)
            cast(DiETNetwork, self.network).begin_as(cast(Classifier, trained.network))

    # --- rounds --------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Refuse, where nothing has done so before, what :meth:`check_training` refuses."""
        super().on_fit_start()
        self.check_training(attached_datamodule(self.trainer))

    def check_training(self, data: DataModule | None) -> None:
        """Refuse a training in which masks and images would not belong together, or that is too short.

        Raises:
            ValueError: if so.
        """
        trainer: Any = self.attached_trainer
        if trainer is not None and not trainer.fast_dev_run:
            epochs = planned_epochs(trainer, "DiET divides the epochs among its rounds")
            if epochs < 2 * ROUNDS:
                raise ValueError(
                    f"DiET has {ROUNDS} rounds of two phases, which {epochs} epochs are too few for; give "
                    f"--trainer.max_epochs {2 * ROUNDS} or more"
                )
        if _moves_pixels(data):
            raise ValueError(
                "DiET learns a mask of each training image as it lies, and training moves the pixels: give "
                "--data.train_transform.crop_scale null --data.train_transform.flip 0, and no rotation or transforms"
            )

    def on_train_start(self) -> None:
        """Give each training image a mask that shows everything, unless the checkpoint brought them."""
        super().on_train_start()
        if self.masks is None:
            images = len(cast(Any, self.trainer.train_dataloader).dataset)
            self.masks = torch.ones(images, 1, *cast(DiETNetwork, self.network).grid)

    @property
    def phase(self) -> tuple[int, bool]:
        """The round, from 0, and whether it is about the masks."""
        epochs = max(planned_epochs(self.trainer, "DiET divides the epochs among its rounds"), 2 * ROUNDS)
        number = min(self.current_epoch * 2 * ROUNDS // epochs, 2 * ROUNDS - 1)
        return number // 2, number % 2 == 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Take a step on the masks of a batch, which leaves the student as it is, or return the student's loss."""
        number, about_masks = self.phase
        if not about_masks:
            return super().training_step(batch, batch_idx)
        network, images = cast(DiETNetwork, self.network), batch["image"]
        network.student.eval()
        with torch.no_grad():
            whole = network.student(images).logits.float().softmax(dim=1)
        before, colour = self._masks_of(batch), random_colours(images)
        after, loss = network.descend(images, before, whole, colour, round_settings(number)[0])
        network.student.train()
        self._store(batch["index"], after)
        size = len(images)
        self.log("train/loss", loss.mean(), prog_bar=True, batch_size=size)
        self.log("train/acc", batch_accuracy(whole, batch["label"]), prog_bar=True, batch_size=size)
        self.log("train/mask_area_stage_1", after.mean(), batch_size=size)
        # Lightning refuses a step without a loss on several processes, and DDP waits for all gradients.
        return 0 * torch.stack([parameter.sum() for parameter in network.student.parameters()]).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the student as it is while the masks learn: momentum would move it without a gradient, too."""
        super().on_before_optimizer_step(optimizer)
        if self.phase[1]:
            for parameter in self.network.parameters():
                parameter.grad = None

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return how far the student is from the teacher, and from itself where masks, rounded, hide the rest."""
        network, images = cast(DiETNetwork, self.network), batch["image"]
        shift = round_settings(self.phase[0])[1]
        masks = (self._masks_of(batch) + shift).round()
        masked = network.student(show(images, masks, random_colours(images))).logits
        return {
            "loss_teacher": distance(prediction.logits, cast(Tensor, prediction.extras["teacher_logits"])),
            "loss_masked": distance(prediction.logits, masked),
        }

    def _masks_of(self, batch: Batch) -> Tensor:
        images = batch["image"]
        if self.masks is None:
            return images.new_ones(len(images), 1, *cast(DiETNetwork, self.network).grid)
        return self.masks[batch["index"].cpu()].to(images)

    def _store(self, index: Tensor, masks: Tensor) -> None:
        """Keep new masks of some rows, on each rank those of all."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            index, masks = self.all_gather(index).flatten(0, 1), self.all_gather(masks).flatten(0, 1)  # type: ignore[union-attr]
        cast(Tensor, self.masks)[index.cpu()] = masks.float().cpu()

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the masks of the training images."""
        super().on_save_checkpoint(checkpoint)
        if self.masks is not None:
            checkpoint["training_masks"] = self.masks

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the masks of the training images.

        Raises:
            CheckpointError: if they are no masks of this grid.
        """
        super().on_load_checkpoint(checkpoint)
        masks = checkpoint.get("training_masks")
        if masks is not None:
            grid = cast(DiETNetwork, self.network).grid
            if not isinstance(masks, Tensor) or masks.ndim != 4 or tuple(masks.shape[1:]) != (1, *grid):
                raise CheckpointError(
                    f"the checkpoint's masks of the training images do not lie on a grid of {grid[0]} × {grid[1]} cells"
                )
            self.masks = masks


def _moves_pixels(data: Any) -> bool:
    """Return whether training changes where the pixels of an image lie."""
    train = getattr(getattr(data, "pipeline", None), "train", None)
    if train is None:
        return False
    if not hasattr(train, "crop_scale"):  # a torchvision transform, of which nothing is known
        return True
    return bool(train.flip or train.rotation or train.transforms or train.crop_scale is not None)
