"""Accuracy over groups of label × attribute: plain, worst, adjusted and mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from maskexp.metrics.functional.inputs import real_dtype

__all__ = ["group_accuracy"]


def group_accuracy(
    predicted: Tensor,
    label: Tensor,
    group: Tensor,
    group_names: int | Sequence[str],
    train_group_counts: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    r"""Compute the accuracies that a data set with spurious groups is judged by.

    With :math:`c_g` correct of :math:`n_g` samples in group :math:`g`, counted over the whole data set:

    .. math::
        \text{acc} = \frac{\sum_g c_g}{\sum_g n_g} \qquad \text{worst} = \min_g \frac{c_g}{n_g} \qquad
        \text{adjusted} = \sum_g \frac{N_g}{\sum_h N_h} \frac{c_g}{n_g} \qquad
        \text{mean} = \frac{1}{G} \sum_g \frac{c_g}{n_g}

    where :math:`N_g` are the *training* counts of this very data set. Groups without samples are left out of the worst,
    the mean and the adjusted accuracy, whose weights are renormalised; it is NaN where no group with samples was
    trained on. Samples of group -1 count in ``acc`` only. Everything is in [0, 1], higher is better.

    Source: the adjusted average is the one that Sagawa et al. (2020, group DRO) and WILDS report, with weights that are
    not fixed to one release; the plain mean over groups is what Petryk et al. (2022, GALS) call per-group accuracy, and
    what SubpopBench (Yang et al., 2023) calls ``adjusted_accuracy``.

    Args:
        predicted: ``(B,)`` class indices, or ``(B, K)`` scores of which the highest counts.
        label: ``(B,)`` class indices.
        group: ``(B,)`` group indices, -1 where a sample belongs to none.
        group_names: one name per group, or their number, which then names them 0, 1, … .
        train_group_counts: training samples per group; without them there is no ``acc_adjusted``.

    Returns:
        ``acc``; and, where there are groups, ``acc_worst_group``, ``acc_group_mean``, ``acc_adjusted``,
        ``acc_group/<name>`` for every group with samples, and ``n_group/<name>`` (int64) for every group.

    Raises:
        ValueError: if shapes, names or counts disagree or a group is out of range.

    Example:
        >>> import torch
        >>> result = group_accuracy(
        ...     predicted=torch.tensor([0, 0, 1, 1]),
        ...     label=torch.tensor([0, 0, 1, 0]),
        ...     group=torch.tensor([0, 0, 1, 1]),
        ...     group_names=["on_land", "on_water"],
        ...     train_group_counts=[90, 10],
        ... )
        >>> {name: round(value.item(), 3) for name, value in result.items()}  # doctest: +NORMALIZE_WHITESPACE
        {'acc': 0.75, 'acc_worst_group': 0.5, 'acc_group_mean': 0.75, 'acc_adjusted': 0.95,
         'acc_group/on_land': 1.0, 'acc_group/on_water': 0.5, 'n_group/on_land': 2, 'n_group/on_water': 2}
    """
    names = validated_group_names(group_names, train_group_counts)
    correct, total = group_accuracy_update(predicted, label, group, len(names))
    return group_accuracy_compute(correct, total, names, train_group_counts)


def validated_group_names(
    group_names: int | Sequence[str], train_group_counts: Sequence[int] | None
) -> tuple[str, ...]:
    """Return one distinct name per group and check that the training counts fit."""
    names = tuple(map(str, range(group_names))) if isinstance(group_names, int) else tuple(group_names)
    if len(set(names)) != len(names):
        raise ValueError(f"group names have to be distinct, but are {list(names)}")
    if train_group_counts is not None and len(train_group_counts) != len(names):
        raise ValueError(f"{len(names)} groups need as many training counts, not {len(train_group_counts)}")
    if train_group_counts is not None and min(train_group_counts, default=0) < 0:
        raise ValueError(f"training counts have to be ≥ 0, but are {list(train_group_counts)}")
    return names


def group_accuracy_update(predicted: Tensor, label: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Count correct and all samples per group, as int64 ``(G + 1,)``; the last entry is for group -1."""
    if predicted.ndim == 2:
        predicted = predicted.argmax(dim=1)
    elif predicted.is_floating_point():
        raise ValueError(
            f"predicted has to be (B,) class indices or (B, K) scores, not {tuple(predicted.shape)} floats"
        )
    if not predicted.shape == label.shape == group.shape or predicted.ndim != 1:
        raise ValueError(
            f"predicted, label and group have to be of one length, but are {tuple(predicted.shape)}, "
            f"{tuple(label.shape)} and {tuple(group.shape)}"
        )
    if group.numel():
        low, high = torch.stack(torch.aminmax(group)).tolist()
        if low < -1 or high >= num_groups:
            raise ValueError(
                f"group indices have to lie in -1…{num_groups - 1}, but reach from {low} to {high}; "
                f"the data has other groups than the {num_groups} that this metric was made for"
            )
    slots = num_groups + 1
    slot = torch.where(group < 0, num_groups, group)
    wrong, correct = torch.bincount(slot + slots * (predicted == label), minlength=2 * slots).view(2, slots)
    return correct, wrong + correct


def group_accuracy_compute(
    correct: Tensor, total: Tensor, names: Sequence[str], train_group_counts: Sequence[int] | None
) -> dict[str, Tensor]:
    """Turn counts per group into the named accuracies; see :func:`group_accuracy`."""
    real = real_dtype(correct.device)
    result = {"acc": correct.sum().to(real) / total.sum()}
    if not names:
        return result
    accuracy, present = correct[:-1].to(real) / total[:-1], total[:-1] > 0
    missing = [name for name, there in zip(names, present.tolist(), strict=True) if not there]
    if missing:
        rank_zero_warn(f"no sample of group {', '.join(missing)}: worst, mean and adjusted accuracy leave it out")
    none_present = len(missing) == len(names)  # a split without attributes: NaN rather than a minimum over nothing
    result["acc_worst_group"] = accuracy.new_tensor(torch.nan) if none_present else accuracy[present].min()
    result["acc_group_mean"] = accuracy[present].mean()
    if train_group_counts is not None:
        weight = torch.tensor(train_group_counts, dtype=real, device=correct.device)[present]
        result["acc_adjusted"] = (weight * accuracy[present]).sum() / weight.sum()
    for i, name in enumerate(names):
        if name not in missing:
            result[f"acc_group/{name}"] = accuracy[i]
    for i, name in enumerate(names):
        result[f"n_group/{name}"] = total[i]
    return result
