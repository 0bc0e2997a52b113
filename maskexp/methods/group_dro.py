r"""GroupDRO: the groups that are learned worst weigh most.

Sagawa, Koh, Hashimoto, Liang: "Distributionally Robust Neural Networks for Group Shifts: On the Importance of
Regularization for Worst-Case Generalization", ICLR 2020 (arXiv 1911.08731).

The loss of a step is :math:`\sum_g q_g \ell_g` with the mean cross-entropies :math:`\ell_g` of the groups in the batch;
before, the weights are moved by exponentiated gradient ascent, :math:`q_g \leftarrow q_g \exp(\eta (\ell_g +
C / \sqrt{n_g}))`, and normalised (Algorithm 1, and Eq. 5 for the adjustment).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from maskexp.methods.base import Method
from maskexp.models import Classifier
from maskexp.models.network import Network
from maskexp.types import Batch, DataModule, DataSpec, Prediction


class GroupDRO(Method):
    r"""A plain classifier that minimises the loss of the worst group; the attribution is Grad-CAM.

    The groups' losses are those of the joined batch of all ranks, so that two processes learn what one would. A group
    that is not in a batch has the loss 0 there, as in the released code. The paper trains with ``--data.sampling
    group_balanced``, so that every group is in most batches, and without strong weight decay or early stopping it loses
    its advantage.

    Args:
        step_size: Step size η of the groups' weights, at least 0 (paper: 0.01).
        adjustment: Generalisation adjustment C: a group of n training images counts C/√n worse than it is, at least 0
            (released code: 0; the paper tunes it).
        kwargs: Further arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if an argument is out of range; later, if the data has no groups, or one without training images.
    """

    supervision = "group labels in training"

    def __init__(self, step_size: float = 0.01, adjustment: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in {"step_size": step_size, "adjustment": adjustment}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be at least 0 and finite")
        self.step_size = step_size
        self.adjustment = adjustment
        self.group_weights: Tensor

    # --- data and network ----------------------------------------------------------------------------------------

    def configure_network(self, spec: DataSpec, weights: str | None) -> Network:
        """Return the timm network with its own pooling and a new head."""
        return Classifier(self.backbone, spec.num_classes, weights, spec.image_size, self.frozen_backbone)

    def build(self, spec: DataSpec, pretrained: bool = False) -> None:
        """Build the network; a training begins with all groups weighing the same.

        Raises:
            ValueError: if a training begins on data without groups, or with a group that has no training image.
        """
        if pretrained:
            self._require_groups(spec)
        super().build(spec, pretrained)
        if "group_weights" not in self._buffers:
            uniform = torch.full((spec.num_groups,), 1 / max(spec.num_groups, 1))
            self.register_buffer("group_weights", uniform, persistent=False)

    def check_training(self, data: DataModule) -> None:
        """Refuse data without groups, and training images that belong to none."""
        self._require_groups(data.spec)
        dataset = data.dataset("train")
        if without := [str(name) for name, group in zip(dataset.ids, dataset.group, strict=True) if group < 0]:
            shown = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
            raise ValueError(
                f"GroupDRO weighs every training image by its group, and {len(without)} of {data.spec.name} have no "
                f"attribute ({shown}); give them one, leave them out, or use ERM or JTT"
            )

    def _require_groups(self, spec: DataSpec) -> None:
        if not spec.num_groups:
            raise ValueError(
                f"GroupDRO needs the group labels of the training images, and the data {spec.name} has no groups; use "
                "data with an attribute, or ERM or JTT"
            )
        counts = zip(spec.group_names, spec.train_group_counts, strict=True)
        if empty := [name for name, count in counts if not count]:
            raise ValueError(
                f"GroupDRO weighs groups by their losses in training, and {', '.join(empty)} of {spec.name} has no "
                "training image; use data in which every group has some, or ERM or JTT"
            )

    # --- the objective -------------------------------------------------------------------------------------------

    def objective(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Move the groups' weights and return the weighted sum of the groups' losses.

        Raises:
            ValueError: if the batch does not say which group an image is of.
        """
        if "group" not in batch:
            raise ValueError('GroupDRO needs the group of each image: give batches the key "group"')
        losses = F.cross_entropy(prediction.logits, batch["label"], reduction="none")
        local = torch.zeros_like(self.group_weights, dtype=losses.dtype).index_add(0, batch["group"], losses)
        counts = torch.bincount(batch["group"], minlength=len(local)).to(local.dtype)
        total, counts = _over_ranks(torch.stack([local.detach(), counts]))
        group_losses = total / counts.clamp(min=1)
        weights = self.moved_weights(group_losses)
        self.group_weights.copy_(weights)
        # DDP averages gradients over ranks: times the number of ranks, they are those of the joined batch.
        loss = _world_size() * (weights * local / counts.clamp(min=1)).sum()
        return {"loss_groups": loss + ((weights * group_losses).sum() - loss).detach()}

    def moved_weights(self, group_losses: Tensor) -> Tensor:
        """Return the weights after a step of exponentiated gradient ascent, ``(G,)`` with sum 1.

        Args:
            group_losses: ``(G,)`` mean loss of each group, 0 where it has no image.
        """
        counts = torch.tensor(self._training_counts(), device=group_losses.device, dtype=group_losses.dtype)
        adjusted = group_losses + self.adjustment / counts.clamp(min=1).sqrt()
        moved = self.group_weights.to(group_losses) * torch.exp(self.step_size * adjusted)
        return moved / moved.sum()

    def _training_counts(self) -> tuple[int, ...]:
        return () if self.spec is None else self.spec.train_group_counts

    def monitor(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the weight of each group, by its name."""
        names = () if self.spec is None else self.spec.group_names
        return {f"group_weight/{name}": self.group_weights[i] for i, name in enumerate(names)}

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the groups' weights, which a resumed training goes on from."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["group_weights"] = self.group_weights.detach().cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network if need be, and take the groups' weights over, unless the data has other groups now."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint.get("group_weights")
        if isinstance(stored, Tensor) and stored.shape == self.group_weights.shape:
            self.group_weights.copy_(stored)


def _over_ranks(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values, op=dist.ReduceOp.SUM)
    return values


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
