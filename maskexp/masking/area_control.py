"""Areas of masks that nobody has to tune: a weight, or a target, that is learned while a network is trained (ours)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from maskexp.masking.objectives import mean_over_ranks


class AreaMultiplier(nn.Module):
    r"""Weights of the areas of masks that are to be as small as a constraint allows, learned by dual ascent (ours).

    The problem is: minimise :math:`\sum_i r_i` subject to :math:`c_i = L_i - L_i^{ref} - m \le 0`, where :math:`L_i`
    is the loss with mask *i*, :math:`L_i^{ref}` the loss without it and :math:`m` the margin. Its Lagrangian, divided
    by the multiplier, is :math:`\sum_i w_i r_i + L_i`, and the weight :math:`w_i`, the inverse of the multiplier, rises
    while the constraint holds and falls while it does not:

    .. math:: w_i \leftarrow w_i \exp(-\nu \, \mathrm{clip}(\bar c_i / m, -1, 1)),

    with the moving average :math:`\bar c_i` of the constraint as in GECO (Rezende & Viola 2018, "Taming VAEs", there
    for the reconstruction of an autoencoder). In units of the margin, and clipped, the speed does not depend on it,
    nor on one bad batch.

    Args:
        stages: number of masks.
        margin: :math:`m`, above 0, in nats.
        speed: :math:`\nu`, the most that a weight's logarithm changes in a step.
        momentum: of the moving average.
    """

    RANGE = (1e-3, 1e3)
    """What a weight may be: a mask that costs no accuracy at any size would raise it for ever."""

    log_weight: Tensor
    constraint: Tensor

    def __init__(self, stages: int, margin: float, speed: float = 0.01, momentum: float = 0.99) -> None:
        super().__init__()
        self.margin = margin
        self.speed = speed
        self.momentum = momentum
        self.register_buffer("log_weight", torch.zeros(stages))
        self.register_buffer("constraint", torch.zeros(stages))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        # Moves to another device, but stays float32 where networks become bfloat16, in which a step of it would vanish.
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in ("log_weight", "constraint"):
            setattr(moved, name, getattr(moved, name).float())
        return moved

    @property
    def weights(self) -> Tensor:
        """The weight of each mask's area, ``(n,)``."""
        return self.log_weight.exp()

    @torch.no_grad()
    def update(self, losses: Tensor, references: Tensor, largest: float = RANGE[1]) -> None:
        """Change the weights after a step.

        Args:
            losses: ``(n,)`` :math:`L_i` of this rank's batch.
            references: ``(n,)`` :math:`L_i^{ref}`.
            largest: no weight becomes larger than this.
        """
        now = mean_over_ranks(losses - references) - self.margin
        self.constraint.lerp_(now, 1 - self.momentum)
        self.log_weight -= self.speed * (self.constraint / self.margin).clamp(-1, 1)
        self.log_weight.clamp_(math.log(self.RANGE[0]), math.log(min(max(largest, self.RANGE[0]), self.RANGE[1])))


class AreaTarget(nn.Module):
    r"""A target area that follows the accuracy on validation (ours).

    It falls geometrically from 1 to :data:`SMALL` while the target is annealed. From then on each validation compares
    the accuracy :math:`a` with the highest that there was, :math:`a^*`: where

    .. math:: a \ge a^* - k \sqrt{a^* (1 - a^*) / n},

    that is, within :math:`k` standard errors of *n* images, the target falls. Where not, it rises three times as fast;
    but above the area with which the highest accuracy was reached, it goes back to that area as fast. Otherwise it
    would rise for ever where a larger mask loses accuracy, as one that takes in a misleading scene does. That the
    smallest within one standard error is to be taken is the rule of Breiman et al. for the size of a tree
    ("Classification and Regression Trees", 1984). It needs images that the network was not trained on: training images
    can be told apart by a mask of one cell.

    Args:
        tolerance: *k*, above 0, in standard errors.
    """

    SMALL = 0.05
    """The target at the end of the annealing, smaller than the object of most images: the search begins below."""
    FALL, RISE = 0.1, 0.3
    """How much the target's logarithm falls or rises in an epoch."""
    RANGE = (0.01, 1.0)
    """What a target may be."""

    def __init__(self, tolerance: float = 1.0) -> None:
        super().__init__()
        self.tolerance = tolerance
        # Numbers and no buffers: each step reads the target, and none has to wait for a device to tell it.
        self.area, self.best, self.epoch, self.best_area = self.SMALL, 0.0, 0.0, self.RANGE[1]

    def get_extra_state(self) -> Tensor:
        """Return what a checkpoint keeps."""
        return torch.tensor([self.area, self.best, self.epoch, self.best_area], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from what a checkpoint keeps."""
        self.area, self.best, self.epoch, self.best_area = state.tolist()

    @classmethod
    def upgraded(cls, state: Tensor) -> Tensor:
        """Return what a checkpoint keeps; at first it was three numbers, and the largest area holds nothing back."""
        return torch.cat([state, state.new_tensor([cls.RANGE[1]])]) if state.shape == (3,) else state

    def at(self, annealed: float) -> float:
        """Return the target area.

        Args:
            annealed: share of the annealing that is over, in [0, 1].
        """
        return self.SMALL**annealed if annealed < 1 else self.area

    def update(self, accuracy: float, images: int, epoch: float, annealed: float = 0.0) -> None:
        """Note a validation, and change the target after it, unless it is still annealed.

        Args:
            accuracy: on all images of the validation, in [0, 1].
            images: their number *n*, at least 1.
            epoch: how many epochs of training there were, not always a whole number.
            annealed: how many of them belong to the annealing.
        """
        since = epoch - max(self.epoch, annealed)
        self.epoch = epoch
        if accuracy >= self.best:
            trained = math.ceil(epoch) - 1  # the epoch that ends, or is under way
            self.best, self.best_area = accuracy, self.at(trained / annealed if trained < annealed else 1.0)
        if since <= 0:
            return
        least, most = self.RANGE
        if accuracy >= self.best - self.tolerance * math.sqrt(self.best * (1 - self.best) / images):
            self.area = max(self.area * math.exp(-since * self.FALL), least)
        elif self.area <= self.best_area:
            self.area = min(self.area * math.exp(since * self.RISE), most)
        else:
            self.area = max(self.area * math.exp(-since * self.RISE), self.best_area)
