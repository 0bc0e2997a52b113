"""What all methods share: steps, optimiser, schedule, and what a checkpoint holds."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, StochasticWeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from maskexp.attribution import add_attributions
from maskexp.methods.checkpoint import CheckpointError, check_classes, check_weights, data_spec, describe
from maskexp.methods.epochs import steps_per_epoch
from maskexp.methods.optimization import (
    Schedule,
    check_optimizer,
    cosine_with_warmup,
    create_optimizer,
    multistep_with_warmup,
    parameter_groups,
    plan_anew,
    regrouped,
    require_in_range,
)
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.supervision import Supervision
from maskexp.models.backbones import HUB
from maskexp.models.network import Network
from maskexp.serialization import require_weights
from maskexp.types import Batch, DataModule, DataSpec, Prediction, attached_datamodule

GAMMA = 0.1
"""Factor by which the schedule "multistep" falls, unless another is given."""


class Method(LightningModule, ABC):
    """Base of all methods; a subclass adds its network and its objective.

    A method knows its network and its objective. The numbers of validation and test are counted by a callback,
    :class:`maskexp.callbacks.Evaluator`, from what the steps return.

    The network is built for a :class:`~maskexp.types.DataSpec`: the argument ``spec``, the datamodule's, or that of a
    checkpoint. So no argument repeats what the data know, and a method trains with or without a datamodule.

    Args:
        backbone: Network of timm by its name, or one of our variants "small_convnet", "resnet50_v1", "resnet101_v1" and
            "resnet152_v1" (ours: resnet50).
        weights: First weights of the backbone: "timm" for the hub's default, a file, or null for random ones (ours:
            timm).
        frozen_backbone: Whether only what the method adds to the backbone is trained (ours: no).
        optimizer: Optimiser of timm by its name, e.g. "adamw", "sgd" or "lion", with momentum 0.9 where it has one
            (ours: adamw).
        lr: Learning rate of the new layers, at least 0 (ours: 1e-3).
        backbone_lr: Learning rate of the backbone, at least 0 (ours: 1e-4).
        weight_decay: Weight decay of all weights but biases and norms, at least 0 (ours: 0.05).
        schedule: Learning rate over the steps: "cosine" falls to zero, "multistep" falls by gamma at each milestone,
            "constant" stays (ours: cosine).
        warmup_epochs: Epochs of linear warm-up, at least 0; may be a fraction (ours: 1).
        milestones: Epochs, counted from the start, after which "multistep" falls.
        gamma: Factor by which "multistep" falls, in (0, 1] (ours: 0.1).
        spec: Classes, groups and image size of the data; needed only where the trainer has no datamodule to ask.

    The optimisation defaults are ours: AIM's are not published. Never report them as a paper's.

    Attributes:
        soft_labels: whether the objective can learn from ``label`` as probabilities ``(B, K)``, which MixUp and CutMix
            make; otherwise they are refused.
        supervision: what the method is told about groups beyond what selection and sampling use.
        settled: whether this epoch asks of the masks what the method was asked for; a checkpoint of an epoch that does
            not, such as one whose target area is still annealed, is selected only where there is no other.
        selection: the metric by which ``auto`` selects this method's checkpoint; by accuracy if None. ``last`` where
            accuracy says nothing of what is trained, such as a masker for a fixed classifier.
        reads_checkpoints_of: names of other methods whose checkpoints fit this one.
        renamed_arguments: earlier names of arguments, which checkpoints may hold, and today's.
    """

    soft_labels: bool = False
    selection: str | None = None
    supervision: Supervision = "none"
    reads_checkpoints_of: tuple[str, ...] = ()
    renamed_arguments: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show in ``help`` and in notebooks all arguments, with those of the bases, and the supervision."""
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            first, *rest = cls.__doc__.split("\n", 1)
            used = "no group labels" if cls.supervision == "none" else cls.supervision
            cls.__doc__ = "\n".join([f"{first.rstrip('.')} [uses {used}].", *rest])
        cls.__signature__ = inspect.Signature(list(arguments_of(cls).values()))  # type: ignore[attr-defined]

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = HUB,
        frozen_backbone: bool = False,
        optimizer: str = "adamw",
        lr: float = 1e-3,
        backbone_lr: float = 1e-4,
        weight_decay: float = 0.05,
        schedule: Schedule = "cosine",
        warmup_epochs: float = 1.0,
        milestones: list[int] | None = None,
        gamma: float = GAMMA,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__()
        check_optimizer(optimizer)
        require_in_range("lr", lr, 0)
        require_in_range("backbone_lr", backbone_lr, 0)
        require_in_range("gamma", gamma, 0, 1, above=True)
        require_in_range("weight_decay", weight_decay, 0)
        require_in_range("warmup_epochs", warmup_epochs, 0)
        if schedule not in get_args(Schedule):
            raise ValueError(f"unknown schedule {schedule!r}; choose {', '.join(get_args(Schedule))}")
        if milestones and min(milestones) < 1:
            raise ValueError(f"milestones are {milestones}; they are epochs, counted from the start, of at least 1")
        if milestones and schedule != "multistep":
            raise ValueError(
                f"milestones are {milestones}, but the schedule is {schedule}, which knows none; give "
                "--model.schedule multistep, or omit them"
            )
        if gamma != GAMMA and schedule != "multistep":
            raise ValueError(
                f"gamma is {gamma}, but the schedule is {schedule}, which falls at no milestones; give "
                "--model.schedule multistep and --model.milestones, or omit it"
            )
        if schedule == "multistep" and not milestones:
            raise ValueError("the schedule multistep falls at milestones: give --model.milestones, e.g. [81,121,161]")
        # The loggers get the run's whole configuration instead.
        # A checkpoint holds the specification in an entry of its own.
        self.save_hyperparameters(logger=False, ignore=["spec"])
        for name, value in self.hparams.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; it must be a finite number")
        self.backbone = backbone
        self.weights = weights
        self.frozen_backbone = frozen_backbone
        self.optimizer_name = optimizer
        self.lr = lr
        self.backbone_lr = backbone_lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.milestones = sorted(milestones or [])
        self.gamma = gamma
        self.spec = spec

    # --- what a method defines -----------------------------------------------------------------------------------

    @abstractmethod
    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the network for this data, with these first weights."""

    @abstractmethod
    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss by name, scalars that already carry their weights; their sum is minimised."""

    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return what else is worth logging of a training step, scalars by name; nothing unless a method says so."""
        return {}

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return what has to be trained on the same data before this method can be, if anything.

        Raises:
            ValueError: if the method cannot be trained on this data at all.
        """
        return None

    @property
    def settled(self) -> bool:
        """Whether a checkpoint of this epoch is what was asked for; it is unless a method says otherwise."""
        return True

    # --- the network ---------------------------------------------------------------------------------------------

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data that this method cannot be used on; nothing is refused unless a method says so.

        Raises:
            ValueError: if it cannot, in one sentence.
        """

    def check_training(self, data: DataModule) -> None:
        """Refuse, before a training begins, data that this method cannot learn from; nothing unless a method says so.

        Raises:
            ValueError: if it cannot, in one sentence.
        """

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the network for ``spec``; a network that exists already is kept.

        Args:
            spec: what the data is.
            pretrained: whether a training begins, with first weights. All else begins with a checkpoint.

        Raises:
            ValueError: if the method cannot be used on this data.
            CheckpointError: if the method is for other classes.
        """
        self.check_data(spec)
        if self.spec is not None:
            check_classes(self.spec, spec)
        if not self.is_built:
            network = self.configure_network(spec, self.weights if pretrained else None)
            # Convolutions are 1.4 to 2 times as fast in this layout, on the CPU too; it changes no shape.
            self.network: Network = network.to(memory_format=torch.channels_last)
        self.spec = spec

    @property
    def is_built(self) -> bool:
        """Whether there is a network yet."""
        return "network" in self._modules

    @property
    def attached_trainer(self) -> Trainer | None:
        """The trainer, or None where there is none."""
        try:
            return self.trainer
        except RuntimeError:
            return None

    def configure_model(self) -> None:
        """Build the network for the datamodule's specification, or for the argument ``spec``.

        Lightning calls this before each stage, and callbacks that need the network earlier call it themselves.

        Raises:
            ValueError: if neither says what the data is.
        """
        if (trainer := self.attached_trainer) is None:  # load_from_checkpoint has none, and on_load_checkpoint follows
            return
        data = attached_datamodule(trainer)
        spec = self.spec if data is None else data.spec
        if spec is None:
            raise ValueError(
                f"{type(self).__name__} does not know classes and image size of its data: give it spec=DataSpec(…), or "
                "give the trainer a datamodule"
            )
        self.build(spec, pretrained=trainer.state.fn == "fit")

    def configure_callbacks(self) -> list[Callback]:
        """Refuse callbacks that cannot work on a method, and build the network for those that copy it in their set-up.

        Raises:
            ValueError: if a callback freezes and unfreezes the backbone.
        """
        callbacks: list[Callback] = cast(Any, self.trainer).callbacks
        if found := [type(each).__name__ for each in callbacks if isinstance(each, BaseFinetuning)]:
            raise ValueError(
                f"{found[0]} freezes an attribute backbone of modules, which a method does not have; give "
                "--model.frozen_backbone true, or a small --model.backbone_lr"
            )
        if not self.is_built and any(isinstance(each, StochasticWeightAveraging) for each in callbacks):
            data = attached_datamodule(self.trainer)
            if data is not None:
                self.trainer.datamodule.prepare_data()  # type: ignore[attr-defined]
            self.configure_model()
        return []

    def setup(self, stage: str) -> None:
        """Build the network before Lightning changes the default precision to that of the run."""
        self.configure_model()

    def forward(self, images: Tensor) -> Prediction:
        """Return the network's prediction for images ``(B, 3, H, W)`` in [0, 1]."""
        prediction: Prediction = self.network(images)
        return prediction

    def explain(self, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Return the prediction with the attributions ``own`` and ``grad_cam``.

        The own attribution of a network with masks is its mask, of any other its Grad-CAM. Grad-CAM is there for every
        method, so that methods can also be compared by one and the same map.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B,)`` class that Grad-CAM explains; the predicted class if None.
        """
        return self.with_attributions(self.forward(images), images, target)

    def explain_batch(self, batch: Batch) -> Prediction:
        """Return what validation, test and prediction say of a batch.

        Attributions are of the labelled class, not the predicted one, as in Rao et al., ICCV 2023.
        """
        return self.explain(batch["image"], batch["label"])

    def with_attributions(self, prediction: Prediction, images: Tensor, target: Tensor | None = None) -> Prediction:
        """Add the attributions that a prediction for images lacks; see :meth:`explain`.

        Raises:
            ValueError: if a logit is not finite.
        """
        wrong = int((~torch.isfinite(prediction.logits)).any(dim=1).sum())
        if wrong:
            raise ValueError(
                f"the logits of {wrong} of {len(prediction.logits)} images are NaN or infinite, so that they decide "
                "nothing; train again with a smaller learning rate"
            )
        if prediction.features is not None:
            add_attributions(prediction, self.network, images, target)
        return prediction

    # --- steps ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch and log its terms.

        Raises:
            ValueError: if the loss or the logits are not finite, or if the batch is too small for batch norm.
        """
        try:
            prediction: Prediction = self(batch["image"])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "batch norm has nothing to normalise by in a batch of one image whose last map is one cell; give a "
                "larger --data.batch_size or a larger --data.image_size"
            ) from error
        terms = self.objective(prediction, batch)
        loss = torch.stack(list(terms.values())).sum()
        self._require_finite(loss, prediction.logits, batch_idx)
        size = len(batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=size)
        self.log("train/acc", batch_accuracy(prediction.logits, batch["label"]), prog_bar=True, batch_size=size)
        for stage, mask in enumerate(prediction.masks, start=1):
            self.log(f"train/mask_area_stage_{stage}", mask.detach().mean(), batch_size=size)
        self.log_dict(
            {f"train/{name}": value for name, value in self.monitor(prediction, batch).items()}, batch_size=size
        )
        return loss

    def _require_finite(self, loss: Tensor, logits: Tensor, batch_idx: int) -> None:
        """Stop a training that has left the finite numbers; on a GPU as often as it logs, since looking makes it wait.

        Raises:
            ValueError: if a loss or a logit of this step, or of one since the last look, is not finite.
        """
        wrong = ~(torch.isfinite(loss) & torch.isfinite(logits).all())
        self._wrong = wrong if self._wrong is None else self._wrong | wrong
        every = 1 if wrong.device.type == "cpu" else max(cast(int, cast(Any, self.trainer).log_every_n_steps), 1)
        if (batch_idx + 1) % every == 0 or self.trainer.is_last_batch:
            found, self._wrong = bool(self._wrong), None
            if found:
                raise ValueError(
                    f"the training left the finite numbers in epoch {self.current_epoch}, at step "
                    f"{self.trainer.global_step}: its loss or its logits are NaN or infinite; choose a smaller "
                    f"--model.lr (now {self.lr:g}) or --model.backbone_lr (now {self.backbone_lr:g})"
                )

    _wrong: Tensor | None = None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Prediction]:
        """Return the prediction for a validation batch, which a callback judges."""
        return {"prediction": self.explain_batch(batch)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Prediction]:
        """Return the prediction for a test batch, which a callback judges."""
        return {"prediction": self.explain_batch(batch)}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return logits and the attribution, in pixels, that the metrics see."""
        prediction = self.explain_batch(batch)
        size = (batch["image"].shape[-2], batch["image"].shape[-1])
        result = {key: batch[key] for key in ("index", "label", "group")} | {"logits": prediction.logits}
        attribution = prediction.attribution_at(size)
        return result if attribution is None else result | {"attribution": attribution}

    # --- optimisation --------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with a learning rate for the backbone and one for new layers, and its schedule."""
        groups = self._parameter_groups()
        optimizer = create_optimizer(self.optimizer_name, groups, self.lr)
        if self.schedule == "constant" and self.warmup_epochs == 0:
            return optimizer
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            raise ValueError(
                "a schedule with warm-up, milestones or a cosine needs to know when training ends: give "
                "--trainer.max_epochs or --trainer.max_steps, or --model.schedule constant and --model.warmup_epochs 0"
            )
        epoch_steps = steps_per_epoch(self.trainer)
        warmup = round(self.warmup_epochs * epoch_steps)
        if self.schedule == "multistep":
            falls = [round(epoch * epoch_steps) for epoch in self.milestones]
            schedule = multistep_with_warmup(optimizer, falls, self.gamma, warmup)
        else:
            schedule = cosine_with_warmup(optimizer, int(total), warmup, decay=self.schedule == "cosine")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Let a resumed training learn at the rates of its own settings, and say where they differ from the former."""
        step = self.trainer.global_step
        schedules = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        if len(self.trainer.optimizers) != 1 or not all(isinstance(each, LambdaLR) for each in schedules):
            return  # such as the trial run of a learning-rate finder, which has a schedule of its own
        if step == 0 and len(self._parameter_groups()) != len(self.trainer.optimizers[0].param_groups):
            self.backbone_lr = self.lr  # a learning-rate finder changed one of two equal rates
        schedule = cast(LambdaLR, schedules[0]) if schedules else None
        peaks = [group["lr"] for group in self._parameter_groups()]
        if (rate := plan_anew(self.trainer.optimizers[0], schedule, peaks, step)) is not None:
            rank_zero_info("the learning rates are planned anew from step %d on, where the first is now %g", step, rate)
            self.hparams.update(lr=self.lr, backbone_lr=self.backbone_lr)

    def _parameter_groups(self, settings: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the network's parameter groups by our own rates, or by those of other settings."""
        own = {"lr": self.lr, "backbone_lr": self.backbone_lr, "weight_decay": self.weight_decay}
        return parameter_groups(self.network, **own | {key: (settings or own).get(key, own[key]) for key in own})

    def _adapt_optimizer(self, checkpoint: dict[str, Any]) -> None:
        """Make the optimiser's state in a checkpoint that of our own learning rates.

        Raises:
            CheckpointError: if it is of another optimiser or of other parameters.
        """
        former, states = checkpoint["hyper_parameters"], checkpoint.get("optimizer_states") or []
        if former.get("optimizer", self.optimizer_name) != self.optimizer_name:
            raise CheckpointError(
                f"the checkpoint was trained by {former['optimizer']}, whose state {self.optimizer_name} cannot go on "
                f"from; omit --model.optimizer {self.optimizer_name}, or begin a new run"
            )
        before, now = self._parameter_groups(former), self._parameter_groups()
        for state in states:
            stored = [len(group["params"]) for group in state["param_groups"]]
            if stored != [len(group["params"]) for group in before]:
                raise CheckpointError(
                    f"the checkpoint's optimiser holds {sum(stored)} parameters in {len(stored)} groups, but other "
                    "parameters are trained now; omit the flag that changes what is trained, or begin a new run"
                )
        if [group["lr"] for group in before] != [group["lr"] for group in now] or (
            [group["weight_decay"] for group in before] != [group["weight_decay"] for group in now]
        ):
            checkpoint["optimizer_states"] = [regrouped(state, before, now) for state in states]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the checkpoint enough by itself: the method's name and the data's specification.

        Raises:
            ValueError: if a weight is not finite: such a checkpoint is of no use.
        """
        require_weights(checkpoint["state_dict"], "the network")
        if self.spec is not None:
            checkpoint.update(describe(type(self).__name__, self.spec))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the checkpoint's weights belong to, or check that ours fits them."""
        trained = data_spec(checkpoint)
        if self.spec is not None:
            check_classes(trained, self.spec)
        if not self.is_built:
            self.build(self.spec or trained)
        check_weights(self.state_dict(), checkpoint["state_dict"])
        if (trainer := self.attached_trainer) is not None and trainer.state.fn == "fit":
            self._adapt_optimizer(checkpoint)


def batch_accuracy(logits: Tensor, label: Tensor) -> Tensor:
    """Return the share of a batch whose class has the largest logit; of soft labels, the likeliest class counts."""
    return (logits.argmax(dim=1) == (label.argmax(dim=1) if label.ndim == 2 else label)).float().mean()


def arguments_of(method: type) -> dict[str, inspect.Parameter]:
    """Return all arguments of a method by name, its own first, then those that it hands on to its bases."""
    found: dict[str, inspect.Parameter] = {}
    for parent in method.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        found |= {p.name: p.replace(kind=p.KEYWORD_ONLY) for p in named if p.name not in found}
        if len(named) == len(parameters):
            break
    return found
