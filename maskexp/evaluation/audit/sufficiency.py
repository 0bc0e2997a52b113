"""Sufficiency and completeness: the decision again, from what the mask shows alone, and from all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from maskexp.evaluation.audit.findings import HIDES_NOTHING, SHOWS_NOTHING, Estimate, Finding, Resampling, percent
from maskexp.evaluation.audit.mask_as_code import shifted
from maskexp.evaluation.audit.questioning import Questioning, only
from maskexp.masking.inputs import InputMasking, UnsupportedLayerError, create_input_maskings
from maskexp.types import Prediction

__all__ = ["sufficiency_and_completeness"]

SUFFICIENCY = "How many decisions stay when nothing but what the mask shows is left?"
COMPLETENESS = "How many decisions stay when what the mask shows is taken away?"


def sufficiency_and_completeness(
    asked: Questioning, interval: Resampling, tolerance: float, seed: int, hiding: Sequence[str]
) -> list[Finding]:
    """Decide again with everything outside the mask hidden, and with everything inside it hidden.

    The network that decides again is the deciding part
    (:attr:`~maskexp.models.network.Network.plain_predictor`), which for most networks is the whole. The
    control hides as many pixels: the mask shifted around the image by a random quarter to three quarters of its sides.
    Both numbers are those of the first way of hiding that the network allows; layer masking, if it is asked for first,
    computes as if hidden pixels were not there, while a colour is content of its own. Details are ``<hiding>`` and
    ``<hiding>_shifted`` of every other way.

    Images whose mask hides nothing do not count, nor, for completeness, those whose mask shows nothing.

    What is shown is *sufficient* if at least ``1 - 2 tolerance`` of the decisions stay, and *complete* if fewer stay
    without it than without the shifted mask, both with the whole interval.

    Args:
        asked: network and sample.
        interval: the bootstrap.
        tolerance: see above.
        seed: of the shifts.
        hiding: ways of hiding by name, the most trusted first.
    """
    shown = asked.base.shown
    if bool(shown.all()):
        return _not_asked(HIDES_NOTHING)
    hides = (~shown).flatten(1).any(dim=1)
    elsewhere = shifted(shown, asked.draws(2, seed, 6) / 2 + 0.25)
    regions = {"kept": shown, "kept_shifted": elsewhere, "removed": ~shown, "removed_shifted": ~elsewhere}
    stay: dict[str, dict[str, Tensor]] = {}
    refused: dict[str, str] = {}
    for name, masking in create_input_maskings(hiding).items():
        try:
            decisions = {region: _stays(asked, masking, visible) for region, visible in regions.items()}
        except (UnsupportedLayerError, ValueError) as error:
            refused[name] = str(error)
            continue
        stay[name] = {
            region: only(~shown, values if region.startswith("kept") else only(shown, values))
            for region, values in decisions.items()
        }
    if not stay:
        reason = f"no way of hiding passes through this network ({next(iter(refused.values()), 'none was named')})"
        return _not_asked(reason)
    first = next(iter(stay))
    found = [_sufficiency(first, stay, interval, tolerance)]
    if bool((shown.flatten(1).any(dim=1) & hides).any()):
        return [*found, _completeness(first, stay, interval)]
    return [*found, Finding.not_asked("completeness", COMPLETENESS, SHOWS_NOTHING)]


def _not_asked(reason: str) -> list[Finding]:
    return [
        Finding.not_asked("sufficiency", SUFFICIENCY, reason),
        Finding.not_asked("completeness", COMPLETENESS, reason),
    ]


def _sufficiency(
    first: str, stay: Mapping[str, Mapping[str, Tensor]], interval: Resampling, tolerance: float
) -> Finding:
    number, control = interval(stay[first]["kept"]), interval(stay[first]["kept_shifted"])
    enough = 1 - 2 * tolerance
    verdict = "sufficient" if number.low >= enough else "insufficient" if number.high < enough else "undecided"
    beginning = {
        "sufficient": "What is shown is enough",
        "insufficient": "What is shown is not enough",
        "undecided": "Undecided whether what is shown is enough",
    }[verdict]
    sentence = (
        f"{beginning}: {percent(number.value)} of the decisions stay with nothing else left (by {first}), "
        f"{percent(control.value)} with as much shown elsewhere{_by_others(first, stay, 'kept')}."
    )
    details = _details(stay, "kept", interval)
    return Finding("sufficiency", SUFFICIENCY, number, control, "the mask shifted", verdict, sentence, details)


def _completeness(first: str, stay: Mapping[str, Mapping[str, Tensor]], interval: Resampling) -> Finding:
    number, control = interval(stay[first]["removed"]), interval(stay[first]["removed_shifted"])
    less = interval(stay[first]["removed_shifted"] - stay[first]["removed"])
    verdict = "complete" if less.low > 0 else "incomplete" if less.high <= 0 else "undecided"
    beginning = {
        "complete": "What is left over no longer makes the decision as before",
        "incomplete": "What is left over makes the decision just as well",
        "undecided": "Undecided whether what is left over makes the decision as well",
    }[verdict]
    sentence = (
        f"{beginning}: {percent(number.value)} stay without what is shown (by {first}), {percent(control.value)} "
        f"without as much elsewhere{_by_others(first, stay, 'removed')}."
    )
    details = _details(stay, "removed", interval) | {"less_than_control": less}
    return Finding("completeness", COMPLETENESS, number, control, "the mask shifted", verdict, sentence, details)


def _details(stay: Mapping[str, Mapping[str, Tensor]], region: str, interval: Resampling) -> dict[str, Estimate]:
    return {
        f"{name}{suffix}": interval(found[f"{region}{suffix}"])
        for name, found in stay.items()
        for suffix in ("", "_shifted")
    }


def _by_others(first: str, stay: Mapping[str, Mapping[str, Tensor]], region: str) -> str:
    """Return the range of what stays by the other ways of hiding, in words."""
    shares = [float(found[region].nanmean()) for name, found in stay.items() if name != first]
    if not shares:
        return ""
    if len(shares) == 1:
        return f"; by one other way of hiding {percent(shares[0])} stay"
    return f"; by {len(shares)} other ways of hiding {percent(min(shares))} to {percent(max(shares))} stay"


def _stays(asked: Questioning, masking: InputMasking, visible: Tensor) -> Tensor:
    """Return ``(N,)``, whether the deciding part decides as the network does on the whole image."""
    part = asked.network.plain_predictor
    decided = [
        cast(Prediction, masking(part, asked.images(numbers), visible[numbers])).logits.argmax(dim=1)
        for numbers in asked.parts()
    ]
    return (torch.cat(decided) == asked.base.decided).float()
