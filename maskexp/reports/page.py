"""The page: sections from records and gallery, put into the template."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from maskexp._version import __version__
from maskexp.reports.gallery import Gallery, Model
from maskexp.reports.intervals import mean_interval, wilson
from maskexp.reports.plots import Bar, bars, histogram, lines
from maskexp.reports.records import RunRecord, mapping

__all__ = ["Report", "StudyTable", "render"]

CURVES = (
    ("Loss", "loss", ("train/loss",)),
    ("Accuracy", "accuracy", ("train/acc", "val/acc", "val/acc_worst_group")),
    ("Localisation on validation", "EPG, PxAP", ("val/epg", "val/epg_baseline", "val/epg_grad_cam", "val/pxap")),
    ("Mask area", "mean of the mask", ("val/mask_area", "val/mask_area_stage_1", "val/mask_area_stage_2")),
)
"""Plots of one run: title, axis, names."""
COMPARED = (
    ("Loss in training", "loss", "train/loss"),
    ("Accuracy of the worst group on validation", "accuracy", "val/acc_worst_group"),
    ("EPG on validation", "EPG", "val/epg"),
    ("Mask area on validation", "mean of the mask", "val/mask_area"),
)
"""Plots of several runs: title, axis, name."""
GOOD = ("sealed", "no leak", "sufficient", "complete", "stable", "right reasons", "agrees")
BAD = ("open", "leak", "insufficient", "incomplete", "unstable", "wrong reasons", "differs")
MOST_GROUPS = 24
"""Groups that a plot of bars has room for."""


@dataclass(frozen=True)
class StudyTable:
    """The table of a study, as text.

    Attributes:
        title: of the study.
        header: of the columns, the first of which names the rows.
        rows: as many texts each.
        remarks: below it.
        states: how many of its runs are in which state.
        pair_header: of the columns of the second table, which compares rows with each other.
        pairs: its rows; none where the study compares none.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    states: Mapping[str, int] = field(default_factory=dict)
    pair_header: Sequence[str] = ()
    pairs: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Report:
    """What a page is made of.

    Attributes:
        title: of the page.
        runs: that are shown, in this order.
        table: of a study, where there is one.
        gallery: images, and what models say of them.
        notes: what a reader has to know of what is not shown.
        created: when, as text.
    """

    title: str
    runs: Sequence[RunRecord] = ()
    table: StudyTable | None = None
    gallery: Gallery = field(default_factory=Gallery)
    notes: Sequence[str] = ()
    created: str = ""


@dataclass(frozen=True)
class Number:
    """A number of a run for the table of numbers.

    Attributes:
        value: None where it was not measured, or has no value.
        interval: of 95 %, where it can be told.
        n: images behind it, None where that was not recorded.
        control: what it has to be compared with, and what that is.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    n: int | None = None
    control: tuple[float, str] | None = None


def render(report: Report) -> str:
    """Return the page: HTML that needs no other file and no network.

    What the data call themselves (classes, groups, ids, paths) enters as text alone: Jinja escapes it, the gallery is
    JSON that no tag can end, and a policy in the page forbids the browser every script and every source but its own.
    """
    folder = files("maskexp.reports") / "templates"
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    environment = Environment(
        loader=DictLoader({"page.html": texts["page.html"]}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = texts["page.js"], texts["page.css"]
    models = {model.name: model for model in report.gallery.models}
    return environment.get_template("page.html").render(
        report=report,
        version=__version__,
        script=Markup(script),  # noqa: S704, ours
        style=Markup(style),  # noqa: S704, ours
        policy=f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'",
        gallery=_json(report.gallery.to_dict()) if report.gallery.models else "",
        numbers=[(run, _numbers(run, models.get(run.name))) for run in report.runs],
        headings=_headings(report, models),
        curves=_curves(report.runs),
        groups=_groups(report.runs),
        distributions=_distributions(report.gallery.models, report.runs),
        audits=[(run, run.audit) for run in report.runs if run.audit],
        provenance=[(run, _provenance(run)) for run in report.runs],
        tone=_tone,
        formatted=_formatted,
        percent=lambda value: "–" if value is None else f"{100 * value:.0f} %",
    )


def _numbers(run: RunRecord, model: Model | None) -> dict[str, Number]:
    """Return the main numbers of a run's test, by their headings."""
    counts = [count for _, count in run.groups.values()]
    total = sum(count for count in counts if count is not None) or (len(model.judged) if model else 0)
    found: dict[str, Number] = {}
    if (accuracy := run.metric("acc")) is not None:
        known = bool(counts) and None not in counts
        found["accuracy"] = Number(accuracy, wilson(accuracy, total) if known else None, total if known else None)
    if (worst := run.metric("acc_worst_group")) is not None:
        count = next((n for value, n in run.groups.values() if value == worst), None)
        found["worst group"] = Number(worst, wilson(worst, count) if count else None, count)
    control = run.metric("epg_baseline")
    for heading, name, spread in (("EPG", "epg", "epg"), ("EPG of Grad-CAM", "epg_grad_cam", "")):
        if (value := run.metric(name)) is not None:
            images = run.metric("n_epg")
            interval = mean_interval(value, model.values(spread), int(images)) if model and spread and images else None
            against = None if control is None else (control, "constant map")
            found[heading] = Number(value, interval, None if images is None else int(images), against)
    for heading, name in (("PxAP", "pxap"), ("PxAP of Grad-CAM", "pxap_grad_cam")):
        if (value := run.metric(name)) is not None:
            images, chance = run.metric("n_pxap"), run.metric("localization/pxap_random")
            against = (chance, "random pixels") if chance is not None else None
            if against is None and control is not None:
                against = (control, "random pixels, about")
            found[heading] = Number(value, None, None if images is None else int(images), against)
    if (area := run.metric("mask_area")) is not None:
        interval = mean_interval(area, model.values("area"), total) if model and total else None
        found["mask area"] = Number(area, interval, total or None)
    return found


def _headings(report: Report, models: Mapping[str, Model]) -> list[str]:
    all_of = [_numbers(run, models.get(run.name)) for run in report.runs]
    return list(dict.fromkeys(heading for numbers in all_of for heading in numbers))


def _curves(runs: Sequence[RunRecord]) -> list[Markup]:
    drawn = []
    if len(runs) == 1:
        curves = runs[0].curves
        for title, label, names in CURVES:
            series = {name: curves[name] for name in names if name in curves}
            drawn.append(lines(title, "epoch", label, series))
    elif runs:
        for title, label, name in COMPARED:
            series = {run.name: run.curves.get(name, ((), ())) for run in runs}
            drawn.append(lines(title, "epoch", label, series))
    return [each for each in drawn if each]


def _groups(runs: Sequence[RunRecord]) -> list[Markup]:
    """Return a plot of bars for the runs whose groups are the same."""
    drawn = []
    for names in dict.fromkeys(tuple(run.groups) for run in runs if run.groups):
        series = {
            run.name: [
                Bar(value, wilson(value, count) if count else None, "" if count is None else f"{count} images")
                for value, count in run.groups.values()
            ]
            for run in runs
            if tuple(run.groups) == names
        }
        shown = names[:MOST_GROUPS]
        title = "Accuracy of each group"
        if len(shown) < len(names):
            title += f" (the first {len(shown)} of {len(names)})"
        drawn.append(bars(title, "accuracy", shown, {name: each[: len(shown)] for name, each in series.items()}))
    return drawn


def _distributions(models: Sequence[Model], runs: Sequence[RunRecord]) -> list[Markup]:
    baselines = [value for run in runs if (value := run.metric("epg_baseline")) is not None]
    marks = {"constant map": baselines[0]} if len(set(baselines)) == 1 or len(baselines) == 1 else {}
    names = dict.fromkeys([run.name for run in runs] + [model.name for model in models])
    by_name = {model.name: model for model in models}
    epg, area = (
        {name: by_name[name].values(each) if name in by_name else [] for name in names} for each in ("epg", "area")
    )
    drawn = [
        histogram("EPG of each image", "EPG", epg, marks),
        histogram("Area of each mask", "area", area, {}),
    ]
    return [each for each in drawn if each]


def _provenance(run: RunRecord) -> dict[str, str]:
    """Return what a run was made with, as texts by heading."""
    env = run.environment
    git, packages = mapping(env.get("git")), mapping(env.get("packages"))
    checkpoint = mapping(mapping(mapping(env.get("evaluations")).get("test")).get("checkpoint"))
    model = run.config.get("model")
    arguments = model.get("init_args") if isinstance(model, Mapping) else None
    recipe = [f"{run.method or 'unknown method'}"]
    if isinstance(arguments, Mapping) and arguments.get("backbone"):
        recipe.append(f"backbone {arguments['backbone']}")
    trainer = run.config.get("trainer")
    if isinstance(trainer, Mapping) and trainer.get("max_epochs") is not None:
        recipe.append(f"{trainer['max_epochs']} epochs")
    if env.get("global_batch_size"):
        recipe.append(f"{env['global_batch_size']} images a step")
    notes = mapping(env.get("data")).get("notes")
    rule = checkpoint.get("rule")
    score = checkpoint.get("score")
    chosen = "" if not rule else "the final epoch" if rule == "last" else f"best epoch by val/{rule}"
    if chosen and isinstance(score, float):
        chosen += f" = {score:.4f}"
    if chosen and checkpoint.get("epoch") is not None:
        chosen += f" (epoch {checkpoint['epoch']})"
    processes = env.get("world_size")
    found = {
        "data": run.data,
        "digest of the data": run.digest,
        "notes on the data": "; ".join(map(str, notes if isinstance(notes, list) else ())),
        "recipe": ", ".join(recipe),
        "checkpoint": chosen,
        "seed": _text(env.get("seed")),
        "command": _text(env.get("command")),
        "maskexp": _text(env.get("maskexp")),
        "commit": "" if not git else f"{git.get('commit')}{', with changes' if git.get('dirty') else ''}",
        "hardware": ", ".join(
            part
            for part in (
                _text(env.get("device")),
                _text(env.get("precision")),
                f"{processes} process{'es' if processes != 1 else ''}" if processes else "",
                _text(env.get("platform")),
            )
            if part
        ),
        "software": ", ".join(
            ([f"Python {env['python']}"] if env.get("python") else []) + [f"{k} {v}" for k, v in packages.items()]
        ),
        "started": _text(env.get("started")),
        "ended": _text(env.get("ended")) or ("" if run.done else "not yet"),
        "folder": str(run.folder),
    }
    return {heading: text for heading, text in found.items() if text}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _tone(verdict: str) -> str:
    """Return the class by which a verdict is coloured."""
    return "good" if verdict in GOOD else "bad" if verdict in BAD else "plain"


def _formatted(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: Any) -> Markup:
    """Return JSON that may stand in a script element: nothing in it can end the element, or begin a comment."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704, escaped above
