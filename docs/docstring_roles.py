"""Docstrings as the site shows them: Sphinx's roles become Markdown.

A ``:class:`` becomes a reference, which is plain code where the site has no such entry, ``:math:`` a formula, in its
line or, as a directive, on one of its own.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc|obj|ref):`(~?)([^`]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)  # the section's name that griffe knows
MATH = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"^( *)\.\. math::(.*(?:\n\1 +\S.*)*)$", re.MULTILINE)


def as_markdown(text: str) -> str:
    """Return a docstring with its roles as Markdown."""
    text = DISPLAYED.sub(lambda found: rf"{found[1]}\[{' '.join(found[2].split())}\]", text)
    return MATH.sub(lambda found: rf"\({found[1]}\)", ROLE.sub(_reference, text))


def _reference(found: re.Match[str]) -> str:
    short, name = found.groups()
    shown = name.rpartition(".")[2] if short else name
    if not name.startswith("maskexp."):
        return f"`{shown}`"
    return f'<autoref optional identifier="{name}"><code>{shown}</code></autoref>'


class Roles(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", as_markdown(obj.docstring.value))
