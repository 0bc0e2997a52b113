"""Right for the right reasons: right or wrong × on or off the foreground, for each group."""

from __future__ import annotations

import torch
from torch import Tensor

from maskexp.evaluation.audit.findings import Finding, Resampling, percent
from maskexp.evaluation.audit.mask_as_code import shifted
from maskexp.evaluation.audit.questioning import Questioning
from maskexp.evaluation.subsets import with_foreground
from maskexp.types import DataSpec

__all__ = ["right_reasons"]

PART = "right_reasons"
QUESTION = "How many right decisions look away from the foreground?"
ON = 0.5
"""Share of what the mask shows that has to lie on the foreground for a decision to look at it (ours)."""
CELLS = ("right_on", "right_off", "wrong_on", "wrong_off")


def right_reasons(asked: Questioning, interval: Resampling, seed: int, spec: DataSpec) -> Finding:
    """Count right and wrong decisions that look at the foreground, and that do not.

    A decision looks at the foreground if at least half of the pixels that the mask shows lie on it; an empty mask looks
    nowhere, and counts as off. The number is the share of right decisions that look away; the control the same with
    each mask shifted around its image. Decisions are right for the *right reasons* if less than half of them look away,
    with the whole interval, and for the *wrong reasons* if more than half do, or no fewer than by chance.

    Details are ``on_foreground``, the share of all decisions that look at it, ``worst_group``, the share of right
    decisions that look away in the group where it is the largest, and ``fewer_than_control``.

    Args:
        asked: network and sample.
        interval: the bootstrap.
        seed: of the shifts.
        spec: of the data, for the names of groups; of classes where there are none.
    """
    known = with_foreground(asked.sample)
    if not bool(known.any()):
        return Finding.not_asked(PART, QUESTION, f"no image of {spec.name} here has a foreground to look at")
    right = asked.base.decided == asked.label
    on = _on(asked.base.shown, asked.sample["foreground"])
    by_chance = _on(shifted(asked.base.shown, asked.draws(2, seed, 10) / 2 + 0.25), asked.sample["foreground"])
    counted = right & known
    away = torch.where(counted, (~on).float(), torch.nan)
    away_by_chance = torch.where(counted, (~by_chance).float(), torch.nan)
    number, control, fewer = interval(away), interval(away_by_chance), interval(away_by_chance - away)
    of, names = _groups(asked, spec)
    groups = {name: _table(right, on, known & (of == i)) for i, name in enumerate(names)}
    groups = {name: table for name, table in groups.items() if any(table.values())}
    shares = {
        name: table["right_off"] / (table["right_on"] + table["right_off"])
        for name, table in groups.items()
        if table["right_on"] + table["right_off"]
    }
    worst = max(shares, key=lambda name: shares[name], default="")
    details = {
        "on_foreground": interval(torch.where(known, on.float(), torch.nan)),
        "fewer_than_control": fewer,
    }
    if worst:
        details["worst_group"] = interval(torch.where(of == names.index(worst), away, torch.nan))
    verdict = "undecided"
    if number.n and (number.low > ON or fewer.high <= 0):
        verdict = "wrong reasons"
    elif number.n and number.high < ON:
        verdict = "right reasons"
    rows = asked.sample["index"][counted & ~on].tolist()
    beginning = {
        "right reasons": "Most right decisions look at the foreground",
        "wrong reasons": "Most right decisions look elsewhere"
        if number.low > ON
        else "Right decisions look at the foreground no more than by chance",
        "undecided": "Undecided whether most right decisions look at the foreground",
    }[verdict]
    in_worst = f", in {worst} {percent(shares[worst])}" if worst and shares[worst] > number.value else ""
    sentence = (
        f"{beginning}: {percent(number.value)} of {number.n} look away{in_worst}; with shifted masks "
        f"{percent(control.value)}."
    )
    return Finding(PART, QUESTION, number, control, "the mask shifted", verdict, sentence, details, groups, tuple(rows))


def _on(shown: Tensor, foreground: Tensor) -> Tensor:
    """Return ``(N,)`` bool, whether at least half of what is shown lies on the foreground."""
    total = shown.flatten(1).sum(dim=1)
    inside = (shown & foreground).flatten(1).sum(dim=1)
    return (total > 0) & (inside >= ON * total)


def _groups(asked: Questioning, spec: DataSpec) -> tuple[Tensor, tuple[str, ...]]:
    if spec.num_groups:
        return asked.sample["group"], spec.group_names
    return asked.label, spec.class_names


def _table(right: Tensor, on: Tensor, which: Tensor) -> dict[str, int]:
    counts = (right & on, right & ~on, ~right & on, ~right & ~on)
    return {name: int((cell & which).sum()) for name, cell in zip(CELLS, counts, strict=True)}
