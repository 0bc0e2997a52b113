"""Seeded mutations of bytes, texts and nested values."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

__all__ = ["mutated_bytes", "mutated_text", "mutated_value"]

NASTY_TEXTS = (
    *("", " ", "\0", "\ufeff", "..", "../../evil", "/etc/passwd", "/dev/zero", "~", "~/x", "a" * 300, "é" * 100, "💥"),
    *(
        "nan",
        ".nan",
        "inf",
        "-.inf",
        "1e999",
        "-1",
        "0",
        "0.0",
        "9" * 50,
        "1_000",
        "0x7f",
        "1:30",
        "true",
        "null",
        "None",
    ),
    *(
        "=1+1",
        "'",
        '"',
        '""',
        ",",
        ";",
        "\t",
        "\n",
        "\r",
        "\\",
        "a\\b.png",
        "%s",
        "{}",
        "{0.__class__}",
        "$HOME",
        "&a",
        "*a",
    ),
    *(
        "!!python/object:os.system",
        "[",
        "]",
        "{",
        "}",
        "- ",
        "? ",
        ": ",
        "#",
        "<<",
        "os.system",
        "evil.Data",
        "AIM",
        "ERM",
    ),
)
NASTY_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 0.5, float("nan"), float("inf"), -0.0, 1e308),
    *(
        "",
        "x",
        "..",
        "evil.Data",
        "/dev/zero",
        "\0",
        "a" * 1000,
        [],
        [None],
        {},
        {"class_path": "evil.Data"},
        [[]],
        {1: 2},
    ),
)


def mutated_bytes(draw: random.Random, content: bytes) -> bytes:
    """Return bytes with a few places flipped, cut, doubled, filled or exchanged."""
    result = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        size = max(len(result), 1)
        place, length = draw.randrange(size), draw.choice((1, 1, 2, 4, 8, 64, 512))
        kind = draw.randrange(7)
        if kind == 0:
            result[place : place + length] = draw.randbytes(len(result[place : place + length]))
        elif kind == 1:
            del result[place:]
        elif kind == 2:
            del result[place : place + length]
        elif kind == 3:
            result[place:place] = result[place : place + length]
        elif kind == 4:
            result[place : place + length] = bytes([draw.choice((0, 255, 127, 128))]) * length
        elif kind == 5 and result:
            result[min(place, len(result) - 1)] ^= 1 << draw.randrange(8)
        else:
            result[place:place] = draw.randbytes(length)
    return bytes(result)


def mutated_text(draw: random.Random, text: str) -> str:
    """Return text with characters, words or lines exchanged, doubled, dropped or replaced by nasty ones."""
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        kind = draw.randrange(6)
        if kind <= 1:
            place = draw.randrange(len(text) + 1)
            text = text[:place] + draw.choice(NASTY_TEXTS) + text[place + draw.randrange(3) :]
        elif kind == 2:
            lines = text.split("\n")
            i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            text = "\n".join(lines)
        elif kind == 4:
            separator = draw.choice((",", " ", ":", "\n", "."))
            words = text.split(separator)
            words[draw.randrange(len(words))] = draw.choice(NASTY_TEXTS)
            text = separator.join(words)
        else:
            place = draw.randrange(len(text) + 1)
            text = text[:place]
    return text


def mutated_value(draw: random.Random, value: Any) -> Any:
    """Return nested mappings and lists with one entry dropped, renamed, or replaced by a nasty one."""
    if isinstance(value, Mapping) and value and draw.random() < 0.9:
        entries = dict(value)
        key = draw.choice(list(entries))
        kind = draw.randrange(8)
        if kind == 0:
            del entries[key]
        elif kind == 1:
            entries[draw.choice(NASTY_TEXTS)] = entries.pop(key)
        else:
            entries[key] = mutated_value(draw, entries[key])
        return entries
    if isinstance(value, list) and value and draw.random() < 0.7:
        items = list(value)
        place = draw.randrange(len(items))
        items[place] = mutated_value(draw, items[place])
        return items
    return draw.choice(NASTY_VALUES)
