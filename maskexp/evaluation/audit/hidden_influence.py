"""Hidden influence: how decision and mask move when pixels change that the mask hides."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.evaluation.audit.findings import HIDES_NOTHING, Estimate, Finding, Resampling, percent
from maskexp.evaluation.audit.questioning import Answers, Change, Questioning, iou, only, takes_masks
from maskexp.evaluation.audit.reach import REACH_IMAGES, reachable_pixels
from maskexp.masking.inputs import Grey
from maskexp.metrics.functional.draws import uniform_maps

__all__ = ["hidden_influence"]

PART = "hidden_influence"
QUESTION = "How many decisions change with the pixels that the mask hides?"
DISTANCES = (16, 8, 4)
"""Hidden pixels at least this part of the image's side away from all shown ones."""


def hidden_influence(asked: Questioning, interval: Resampling, tolerance: float, seed: int) -> Finding:
    """Change what is hidden, and what is shown, and count the decisions that change.

    The number is the share of decisions that change when every hidden pixel takes the value that it has in an image of
    another class, with the mask *held*: a network that estimates its mask anew may rightly follow the new content. The
    control is the same for the shown pixels. A network whose masks cannot be given from outside is asked with noise in
    the hidden pixels instead, which offers no other object to follow.

    Details are ``<what>_decisions`` and ``<what>_mask_iou`` for noise, grey and another image in the hidden pixels with
    the mask estimated anew, ``<what>_held`` with the mask held, ``beyond_<d>th_held`` for the hidden pixels that are at
    least that part of the image's side away from anything shown, ``within_reach``, the share of hidden pixels that
    reach an active cell (:mod:`~maskexp.evaluation.audit.reach`), and ``beyond_reach_held`` for the rest. Images whose
    mask hides nothing do not count, in the control those whose mask shows nothing.

    Args:
        asked: network and sample.
        interval: the bootstrap.
        tolerance: share of decisions that may change.
        seed: of noise and donors.
    """
    held_possible = not asked.has_masks or takes_masks(asked.network)
    shown = asked.base.shown
    if bool(shown.all()):
        return Finding.not_asked(PART, QUESTION, HIDES_NOTHING)
    other = asked.donors(False, seed, 1)
    other = torch.where(other < 0, asked.donors(None, seed, 1), other)
    if len(other) < 2:
        return Finding.not_asked(PART, QUESTION, "a single image has no other whose pixels could take its hidden ones")
    fillings: dict[str, Change] = {
        "noise": lambda images, numbers: _noise(asked, images, numbers, seed),
        "grey": lambda images, _: Grey().fill(images, torch.zeros_like(images[:, :1], dtype=torch.bool)),
        "image": lambda _, numbers: asked.images(other[numbers]),
    }
    details: dict[str, Estimate] = {}
    for name, filling in fillings.items():
        change = _where(~shown, filling)
        anew = asked.ask(change)
        details[f"{name}_decisions"] = interval(only(~shown, _changed(asked.base, anew)))
        details[f"{name}_mask_iou"] = interval(only(~shown, iou(shown, anew.shown)))
        if asked.holds_masks:
            details[f"{name}_held"] = interval(only(~shown, _changed(asked.base, asked.held(change))))
    donor = fillings["image"]
    for part in DISTANCES:
        away = ~_grown(shown, max(min(asked.size) // part, 1))
        changed = _changed(asked.base, asked.held(_where(away, donor)))
        details[f"beyond_{part}th_held"] = interval(only(away, changed))
    within, beyond = _by_reach(asked, donor, seed)
    details["within_reach"], details["beyond_reach_held"] = interval(within), interval(beyond)

    means = "image" if held_possible else "noise"
    number = interval(only(~shown, _changed(asked.base, asked.held(_where(~shown, fillings[means])))))
    control = interval(only(shown, _changed(asked.base, asked.held(_where(shown, fillings[means])))))
    verdict = "sealed" if number.high <= tolerance else "open" if number.low > tolerance else "undecided"
    return Finding(
        PART,
        QUESTION,
        number,
        control,
        "the shown pixels change instead",
        verdict,
        _sentence(verdict, number, control, details, means, tolerance),
        details,
    )


def _sentence(
    verdict: str, number: Estimate, control: Estimate, details: dict[str, Estimate], means: str, tolerance: float
) -> str:
    within = details["within_reach"]
    reach = "" if not within.n else f" {percent(within.value)} of the hidden pixels reach an active cell."
    hidden, shown = percent(number.value), percent(control.value)
    by_others = ", ".join(
        f"{percent(details.get(f'{name}_held', details[f'{name}_decisions']).value)} by {name}"
        for name in ("noise", "grey")
        if name != means
    )
    compared = f"{hidden} of the decisions change with the hidden pixels ({by_others}), {shown} with the shown ones"
    if verdict == "sealed":
        also = (
            ""
            if control.low > tolerance
            else "; they hardly follow the shown ones either, so that only the mask is left"
        )
        return f"What the mask hides hardly decides: {compared}{also}.{reach}"
    if verdict == "open":
        more = " more than what it shows" if number.low > control.high else ""
        return f"What the mask hides decides{more}: {compared}.{reach}"
    return f"Undecided whether what the mask hides decides: {compared}.{reach}"


def _by_reach(asked: Questioning, donor: Change, seed: int) -> tuple[Tensor, Tensor]:
    """Return the share of hidden pixels within reach, and whether the others change the decision; NaN if not asked."""
    shown = asked.base.shown
    count = min(len(shown), REACH_IMAGES)
    within = torch.full((len(shown),), torch.nan, device=shown.device)
    reached = torch.ones_like(shown)
    found = reachable_pixels(asked, torch.arange(count, device=shown.device), seed)
    if found is None:
        return within, within.clone()
    reached[:count] = found
    hidden = (~shown).flatten(1).sum(dim=1)
    reaching = (reached & ~shown).flatten(1).sum(dim=1)
    share = torch.where(hidden > 0, reaching / hidden.clamp(min=1), torch.nan)
    within[:count] = share[:count]
    away = ~shown & ~reached
    changed = _changed(asked.base, asked.held(_where(away, donor)))
    return within, only(away, changed)


def _where(which: Tensor, filling: Change) -> Change:
    """Return a change of the pixels that ``which`` ``(N, 1, H, W)`` marks."""
    return lambda images, numbers: torch.where(which[numbers], filling(images, numbers), images)


def _changed(before: Answers, after: Answers) -> Tensor:
    return (before.decided != after.decided).float()


def _grown(shown: Tensor, pixels: int) -> Tensor:
    """Return what is shown or lies at most ``pixels`` away from it, by the larger of the two coordinates' distances."""
    return F.max_pool2d(shown.float(), 2 * pixels + 1, stride=1, padding=pixels) > 0


def _noise(asked: Questioning, images: Tensor, numbers: Tensor, seed: int) -> Tensor:
    """Return noise, uniform in [0, 1], that depends on seed and rows alone."""
    index = asked.sample["index"][numbers]
    size = (images.shape[-2], images.shape[-1])
    return torch.cat([uniform_maps(index, size, seed, channel) for channel in range(images.shape[1])], dim=1)
