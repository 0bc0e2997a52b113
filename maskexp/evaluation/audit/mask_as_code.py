"""The mask as a code: what the mask alone tells of the class, and whether the decision follows it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.evaluation.audit.findings import Estimate, Finding, Resampling, percent
from maskexp.evaluation.audit.probe import held_out_predictions
from maskexp.evaluation.audit.questioning import Questioning

__all__ = ["mask_as_code", "shifted"]

PART = "mask_as_code"
QUESTION = "How well does a probe that sees only the masks know the class?"
GRID = 16
"""Side of the grid on which a probe sees a mask, as the shown share of each cell."""
FEWEST = 10
"""Images below which there is nothing to learn from."""


def mask_as_code(asked: Questioning, interval: Resampling, tolerance: float, seed: int, classes: int) -> Finding:
    """Train probes on the masks alone, and decide by other masks than an image's own.

    The number is the held-out accuracy of a small probe (:mod:`~maskexp.evaluation.audit.probe`) that sees the binary
    masks. A mask that follows the object tells its silhouette and place, so that the control is the better of two
    probes: of the true foregrounds on the same grid, where they are known, and of the masks of *other* images, which
    knows no more than how frequent each class is.

    Where the network takes masks, decisions are also repeated with the masks of another image of the same class and of
    another class: content is as wrong in both, so that a difference in accuracy is what the mask itself says.

    It is a *leak* if the probe beats its control, or the masks of the same class beat those of another, by more than
    the tolerance, with the whole interval.

    Details are ``probe_area`` and ``probe_position``, probes that see only how much or only where; ``probe_chance`` and
    ``probe_foreground``, the two controls; ``accuracy`` and ``accuracy_<masks>`` with the masks of the ``same_class``,
    of ``another_class``, ``at_random`` (each stage's cells permuted) and ``shifted``; ``follows_mask``, decisions for
    the class that the mask comes from; ``empty``, ``full`` and ``accuracy_empty``, ``accuracy_full``,
    ``one_class_empty``: the share of empty masks that are decided for the most frequent class among them.

    Args:
        asked: network and sample.
        interval: the bootstrap.
        tolerance: by how much an accuracy may be larger.
        seed: of probes, donors, permutations and shifts.
        classes: how many there are.
    """
    label, shown = asked.label, asked.base.shown
    if len(label) < FEWEST or len(set(label.tolist())) < 2:
        return Finding.not_asked(PART, QUESTION, f"a probe needs {FEWEST} images and two classes, not {len(label)}")
    details: dict[str, Estimate] = {}

    def correct(inputs: Tensor) -> Tensor:
        return (held_out_predictions(inputs, label, classes, seed) == label.cpu()).float()

    by_mask = correct(_coarse(shown))
    elsewhere = torch.argsort(asked.draws(1, seed, 2)[:, 0])
    by_chance = correct(_coarse(shown[elsewhere]))
    details["probe_area"] = interval(correct(_area(shown)))
    details["probe_position"] = interval(correct(_position(shown)))
    details["probe_chance"] = interval(by_chance)
    reference, control_name = by_chance, "masks of other images"
    if bool(asked.sample["has_foreground"].all()):
        by_foreground = correct(_coarse(asked.sample["foreground"]))
        details["probe_foreground"] = interval(by_foreground)
        if by_foreground.mean() > by_chance.mean():
            reference, control_name = by_foreground, "the true foregrounds"
    details["probe_beyond_control"] = excess = interval(by_mask - reference)
    details |= _blank_masks(asked, interval)
    gap = None
    if asked.holds_masks:
        swapped, gap = _swapped(asked, interval, seed)
        details |= swapped
        details["same_class_beyond_another"] = gap
    number, control = interval(by_mask), interval(reference)
    beyond = [excess] if gap is None or not gap.n else [excess, gap]
    verdict = "undecided"
    if any(each.low > tolerance for each in beyond):
        verdict = "leak"
    elif all(each.high <= tolerance for each in beyond):
        verdict = "no leak"
    sentence = _sentence(verdict, number, control, control_name, details)
    return Finding(PART, QUESTION, number, control, f"a probe of {control_name}", verdict, sentence, details)


def _sentence(
    verdict: str, number: Estimate, control: Estimate, control_name: str, details: dict[str, Estimate]
) -> str:
    beginning = {
        "leak": "The mask itself carries the class",
        "no leak": "The mask tells no more of the class than it may",
        "undecided": "Undecided whether the mask carries the class",
    }[verdict]
    said = [f"masks alone give {percent(number.value)}, {control_name} {percent(control.value)}"]
    if "follows_mask" in details:
        same, another = details["accuracy_same_class"], details["accuracy_another_class"]
        said.append(
            f"with masks of the same class it is right in {percent(same.value)}, with those of another class in "
            f"{percent(another.value)}"
        )
    if details["empty"].value > 0:
        said.append(
            f"{percent(details['empty'].value)} of the masks are empty, {percent(details['one_class_empty'].value)} of "
            "these decided for one class"
        )
    if details["full"].value > 0:
        said.append(f"{percent(details['full'].value)} of the masks are full and hide nothing")
    return f"{beginning}: {'; '.join(said)}."


def _swapped(asked: Questioning, interval: Resampling, seed: int) -> tuple[dict[str, Estimate], Estimate]:
    """Decide by other masks; return accuracies, and by how much the same class's masks are better than another's."""
    masks, label = asked.base.masks, asked.label
    right: dict[str, Tensor] = {}
    follows = torch.full((len(label),), torch.nan, device=label.device)
    for name, same in (("same_class", True), ("another_class", False)):
        donors = asked.donors(same, seed, 3)
        decided = asked.ask(masks=[stage[donors.clamp(min=0)] for stage in masks]).decided
        right[name] = torch.where(donors >= 0, (decided == label).float(), torch.nan)
        if not same:
            follows = torch.where(donors >= 0, (decided == label[donors]).float(), torch.nan)
    permuted = [_permuted(stage, asked, seed, number) for number, stage in enumerate(masks)]
    right["at_random"] = (asked.ask(masks=permuted).decided == label).float()
    moved = asked.draws(2, seed, 5) / 2 + 0.25
    right["shifted"] = (asked.ask(masks=[shifted(stage, moved) for stage in masks]).decided == label).float()
    estimates = {f"accuracy_{name}": interval(values) for name, values in right.items()}
    estimates["follows_mask"] = interval(follows)
    return estimates, interval(right["same_class"] - right["another_class"])


def _blank_masks(asked: Questioning, interval: Resampling) -> dict[str, Estimate]:
    """Count empty and full masks, and how they are decided."""
    right = (asked.base.decided == asked.label).float()
    area = asked.base.shown.flatten(1).float().mean(dim=1)
    estimates = {"accuracy": interval(right), "area": interval(area)}
    for name, which in (("empty", area == 0), ("full", area == 1)):
        estimates[name] = interval(which.float())
        estimates[f"accuracy_{name}"] = interval(torch.where(which, right, torch.nan))
    decided = asked.base.decided[area == 0]
    usual = decided.mode().values if len(decided) else torch.tensor(-1)
    one_class = torch.where(area == 0, (asked.base.decided == usual).float(), torch.nan)
    return estimates | {"one_class_empty": interval(one_class)}


def _coarse(shown: Tensor) -> Tensor:
    """Return masks ``(N, 1, H, W)`` as the shown share of each cell of a coarse grid, ``(N, D)``."""
    size = (min(GRID, shown.shape[-2]), min(GRID, shown.shape[-1]))
    return F.adaptive_avg_pool2d(shown.float(), size).flatten(1)


def _area(shown: Tensor) -> Tensor:
    """Return the shown share of each image, and whether it is nothing or all."""
    area = shown.flatten(1).float().mean(dim=1)
    return torch.stack([area, area.sqrt(), (area == 0).float(), (area == 1).float()], dim=1)


def _position(shown: Tensor) -> Tensor:
    """Return the centre of what is shown, in heights and widths from the middle; of nothing the middle."""
    height, width = shown.shape[-2:]
    total = shown.flatten(1).float().sum(dim=1).clamp(min=1)
    down = (torch.arange(height, device=shown.device) + 0.5) / height - 0.5
    right = (torch.arange(width, device=shown.device) + 0.5) / width - 0.5
    y = (shown[:, 0].float() * down[:, None]).flatten(1).sum(dim=1) / total
    x = (shown[:, 0].float() * right).flatten(1).sum(dim=1) / total
    return torch.stack([y, x, y * y, x * x, x * y], dim=1)


def _permuted(stage: Tensor, asked: Questioning, seed: int, number: int) -> Tensor:
    """Permute the cells of each mask: the area stays, all else goes."""
    order = torch.argsort(asked.draws(stage[0].numel(), seed, 4, number), dim=1)
    return stage.flatten(1).gather(1, order).view_as(stage)


def shifted(stage: Tensor, moved: Tensor) -> Tensor:
    """Shift each mask ``(N, 1, h, w)`` around by shares ``(N, 2)`` of height and width."""
    height, width = stage.shape[-2:]
    rolled = [
        mask.roll((round(float(down) * height), round(float(right) * width)), dims=(-2, -1))
        for mask, (down, right) in zip(stage, moved, strict=True)
    ]
    return torch.stack(rolled)
