r"""JTT: just train twice, the second time with more of what went wrong the first time.

Liu, Haghgoo, Chen, Raghunathan, Koh, Sagawa, Liang, Finn: "Just Train Twice: Improving Group Robustness without
Training Group Information", ICML 2021 (arXiv 2107.09044).

An ERM that is trained for T epochs gets wrong what its shortcuts do not explain, mostly images of rare groups. The
final network is trained from scratch on all images, those of the error set :math:`E` as often as
:math:`\lambda_{up}` times: :math:`\lambda_{up} \sum_{i \in E} \ell_i + \sum_{i \notin E} \ell_i` (Algorithm 1).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor

from maskexp.methods.base import Method
from maskexp.methods.erm import ERM
from maskexp.methods.passes import over_split
from maskexp.methods.pretraining import Pretraining
from maskexp.methods.stages import begin_with, common_arguments
from maskexp.models import Classifier
from maskexp.models.network import Network
from maskexp.types import Batch, DataModule, DataSpec, Prediction, attached_datamodule


class JTT(Method):
    """A plain classifier trained with more of what a first one got wrong; the attribution is Grad-CAM.

    The training uses no group label; T, λ and the epoch were chosen by the worst group of the validation images in the
    paper. "maskexp fit" trains the first network, an ERM with the same settings, unless its checkpoint is given.

    Args:
        identification_epochs: Epochs T of the first network, whose final epoch tells the error set, at least 1 (ours:
            5; the paper tunes it, WaterBirds 60, CelebA 1).
        upweight: How often an image of the error set comes in an epoch, λ, at least 1 (ours: 20; the paper tunes it,
            WaterBirds 100, CelebA 50; there the released code shows it once more).
        identifier_checkpoint: Checkpoint of an ERM, the first network; "maskexp fit" trains it first if null (ours:
            null).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`, which hold for both trainings.

    Attributes:
        repeats: ``(N,)`` how often each training image comes in an epoch, for the datamodule; None until it is known.

    Raises:
        ValueError: if an argument is out of range; later, if the first network gets nothing wrong, or the data is not
            loaded by a datamodule that repeats images.
    """

    def __init__(
        self,
        identification_epochs: int = 5,
        upweight: int = 20,
        identifier_checkpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in {"identification_epochs": identification_epochs, "upweight": upweight}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.identification_epochs = identification_epochs
        self.upweight = upweight
        self.identifier_checkpoint = identifier_checkpoint
        self.repeats: NDArray[np.int64] | None = None

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the timm network with its own pooling and a new head."""
        return Classifier(self.backbone, spec.num_classes, weights, spec.image_size, self.frozen_backbone)

    # --- the first training --------------------------------------------------------------------------------------

    def check_training(self, data: DataModule) -> None:
        """Refuse an order of the training images that leaves no place for more of some."""
        sampling = getattr(data, "sampling", "shuffled")
        if sampling != "shuffled":
            raise ValueError(
                f"JTT says how often an epoch shows each image, and so does sampling {sampling}; omit --data.sampling"
            )

    def pretraining(self, spec: DataSpec) -> Pretraining | None:
        """Return the training of the first network, unless it is given; its final epoch counts."""
        if self.identifier_checkpoint is not None:
            return None
        epochs, arguments = self.identification_epochs, common_arguments(self.hparams)
        return Pretraining("identifier", "ERM", arguments, epochs, "identifier_checkpoint", selection="last")

    def configure_optimizers(self) -> Any:
        """Find the error set, which decides how many steps an epoch has, and return the optimiser."""
        if self.repeats is None:
            errors = self._error_set()
            self.repeats = np.where(errors, self.upweight, 1)
        return super().configure_optimizers()

    def _error_set(self) -> NDArray[np.bool_]:
        """Return which training images the first network gets wrong, ``(N,)``.

        Raises:
            ValueError: if there are none.
        """
        first = begin_with(self.identifier_checkpoint, ERM, "identifier", self, cast(DataSpec, self.spec))
        first = first.to(self.trainer.strategy.root_device).eval()

        @torch.no_grad()
        def wrong(images: Tensor, labels: Tensor, __: Tensor) -> Tensor:
            prediction: Prediction = first(images)
            return prediction.logits.argmax(dim=1) != labels

        errors: NDArray[np.bool_] = over_split(self.trainer, "train", "JTT", wrong).numpy()
        if not errors.any():
            raise ValueError(
                f"the first network of JTT gets all {len(errors)} training images right, so that there is nothing to "
                "upweight; train it for fewer --model.identification_epochs, or with more --model.weight_decay"
            )
        rank_zero_info("JTT: %d of %d training images are in the error set%s", *self._described(errors))
        return errors

    def _described(self, errors: NDArray[np.bool_]) -> tuple[int, int, str]:
        """Return size and origin of the error set: how much of each group is in it, where there are groups."""
        names = () if self.spec is None else self.spec.group_names
        data = attached_datamodule(self.trainer)
        if data is None or not names:
            return int(errors.sum()), len(errors), ""
        groups = np.asarray(data.dataset("train").group)
        shares = [f"{name} {errors[groups == i].sum()} of {(groups == i).sum()}" for i, name in enumerate(names)]
        return int(errors.sum()), len(errors), f" ({', '.join(shares)})"

    # --- the second training -------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Make sure that images are repeated as they should be.

        Raises:
            ValueError: if the loader shows every image once.
        """
        super().on_train_start()
        sampler = getattr(self.trainer.train_dataloader, "sampler", None)
        if self.repeats is None or getattr(sampler, "size", None) != int(self.repeats.sum()):
            raise ValueError("JTT shows some images more often than others, for which it needs a datamodule of maskexp")

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy."""
        return {"loss_cls": F.cross_entropy(prediction.logits, batch["label"])}

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how often images come, which a resumed training goes on with."""
        super().on_save_checkpoint(checkpoint)
        if self.repeats is not None:
            checkpoint["repeats"] = torch.from_numpy(self.repeats)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network if need be, and let a resumed training repeat the images that it did."""
        super().on_load_checkpoint(checkpoint)
        if isinstance(stored := checkpoint.get("repeats"), Tensor):
            self.repeats = stored.numpy()
