"""Read what wandb wrote offline, without its server.

A ``run-ID.wandb`` file is a log as LevelDB has it, behind a header of seven bytes: blocks of 32 KiB, records in parts
with checksum (4 bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last part); wandb's reader is private.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as protocol

BLOCK, HEADER = 32768, struct.Struct("<IHB")


@dataclass
class OfflineRun:
    """What one start of a run wrote."""

    run_id: str = ""
    sweep_id: str = ""
    project: str = ""
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    preempting: bool = False


def read_offline_run(folder: Path, timeout: float = 20.0) -> OfflineRun:
    """Return what ``offline-run-DATE-ID`` holds; wandb's own process may still be writing when the run has finished."""
    deadline = time.monotonic() + timeout
    while True:
        found = _read(folder)
        if found.exit_code is not None or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _read(folder: Path) -> OfflineRun:
    (path,) = folder.glob("*.wandb")
    found = OfflineRun()
    for raw in _records(path.read_bytes()):
        record = protocol.Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run_id, found.sweep_id = record.run.run_id, record.run.sweep_id
            found.project, found.name = record.run.project, record.run.display_name
            found.config |= _values(record.run.config.update)
        elif kind == "config":
            found.config |= _values(record.config.update)
        elif kind == "history":
            found.history.append(_values(record.history.item))
        elif kind == "summary":
            found.summary |= _values(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
        elif kind == "preempting":
            found.preempting = True
    return found


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) if item.nested_key else item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    position, parts = 7, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        parts = data[position : position + length] if kind in (1, 2) else parts + data[position : position + length]
        position += length
        if kind in (1, 4):
            yield parts
