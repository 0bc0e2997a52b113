"""Progress bars of what writes much data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.progress import Progress

from maskexp.data.disk import bytes_bar, files_bar

LONG = "/a/folder of somebody/" + "deep/" * 20


@pytest.mark.parametrize(("bar", "end"), [(files_bar, "27/27"), (bytes_bar, "100%")])
def test_a_long_path_takes_no_digit_from_the_count(
    bar: Callable[[], Progress], end: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with bar() as shown:
        shown.advance(shown.add_task(LONG, total=27), 27)
    last = capsys.readouterr().err.rstrip().splitlines()
    assert len(last) == 1
    assert end in last[0]
