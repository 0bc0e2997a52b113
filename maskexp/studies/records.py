"""What a finished run left about itself, read for the states of a study and for its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from maskexp.studies.study_file import is_number

__all__ = ["Record", "read_json", "read_record"]


@dataclass(frozen=True)
class Record:
    """What a finished run left about itself; empty where it left nothing.

    Attributes:
        metrics: of metrics.json; None if there is none, or it cannot be read.
        done: whether the run came to its end.
        version: of maskexp.
        data: name and variant of the data.
        data_digest: of the data's manifest.
        rule: by which its checkpoint was selected.
        supervision: what it was told about groups; empty where it does not say.
        ended: when.
        seconds: from start to end; None where the run was interrupted on the way.
    """

    metrics: Mapping[str, float | None] | None = None
    done: bool = False
    version: str = ""
    data: tuple[str, str] = ("", "")
    data_digest: str = ""
    rule: str = ""
    supervision: str = ""
    ended: str = ""
    seconds: float | None = None


def read_record(folder: Path) -> Record:
    """Read metrics.json and env.json of a run, whatever is left of them."""
    if not (folder / "DONE").is_file():
        return Record()
    env = read_json(folder / "env.json") or {}
    data, checkpoint = _at(env, "data"), _at(env, "evaluations", "test", "checkpoint")
    started, ended = _time(env.get("started")), _time(env.get("ended"))
    seconds = (ended - started).total_seconds() if started and ended and not env.get("earlier_starts") else None
    return Record(
        metrics=_metrics(read_json(folder / "metrics.json")),
        done=True,
        version=str(env.get("maskexp", "")),
        data=(str(data.get("name", "")), str(data.get("variant", ""))),
        data_digest=str(data.get("digest", "")),
        rule=str(checkpoint.get("rule") or ""),
        supervision=str(env.get("supervision") or ""),
        ended="" if ended is None else str(env["ended"]),
        seconds=seconds,
    )


def read_json(file: Path) -> dict[str, Any] | None:
    """Return a file's mapping; None if it is not there, or is no whole mapping."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _at(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the mapping at the end of keys; an empty one where something else lies on the way."""
    for key in keys:
        inner = content.get(key)
        content = inner if isinstance(inner, Mapping) else {}
    return content


def _metrics(content: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    """Return metrics as they are; None where one of them is neither a finite number nor null: the file is damaged."""
    if content is None or not all(value is None or is_number(value) for value in content.values()):
        return None
    return dict(content)


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
