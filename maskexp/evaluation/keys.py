"""Names of results: the evaluation, its metric and the map that was judged, joined and taken apart in one place."""

from __future__ import annotations

import re
from typing import NamedTuple

from maskexp.attribution import attribution_names
from maskexp.metrics import CONTROLS
from maskexp.types import OWN

__all__ = ["ResultKey", "judged_maps"]

_SETTINGS = re.compile(r"(:[a-z_]+=[^:/]+)+$")


class ResultKey(NamedTuple):
    """What a number is the answer to.

    Attributes:
        evaluation: e.g. ``localization``; empty for what is measured on every split.
        metric: e.g. ``epg`` or, with what it depends on, ``grey/pipeline/05``.
        attribution: name of the map that was judged: the method's ``own``, a registered one, with its settings if it
            has some, or a control; ``own`` too where no map is judged.

    Example:
        >>> str(ResultKey("localization", "epg", "grad_cam"))
        'localization/epg_grad_cam'
        >>> str(ResultKey("", "acc"))
        'acc'
    """

    evaluation: str
    metric: str
    attribution: str = OWN

    def __str__(self) -> str:
        """Return the name under which the number is recorded; the method's own map adds nothing to it."""
        suffix = "" if self.attribution == OWN else f"_{self.attribution}"
        return "/".join(part for part in (self.evaluation, f"{self.metric}{suffix}") if part)

    @classmethod
    def parse(cls, name: str) -> ResultKey:
        """Take a recorded name apart.

        Example:
            >>> ResultKey.parse("fidelity/grey/pipeline/05_random")
            ResultKey(evaluation='fidelity', metric='grey/pipeline/05', attribution='random')
        """
        evaluation, slash, metric = name.partition("/")
        if not slash:
            evaluation, metric = "", name
        settings = _SETTINGS.search(metric)
        plain = metric if settings is None else metric[: settings.start()]
        endings = [judged for judged in judged_maps() if plain.endswith(f"_{judged}")]
        if not endings:
            return cls(evaluation, metric)
        attribution = max(endings, key=len)
        return cls(evaluation, plain.removesuffix(f"_{attribution}"), attribution + metric[len(plain) :])


def judged_maps() -> tuple[str, ...]:
    """Return the names of all maps beside the method's own: those that are registered, and the controls."""
    return (*attribution_names(), *CONTROLS)
