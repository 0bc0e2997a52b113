from __future__ import annotations

from collections.abc import Mapping

import pytest

from maskexp.data.manifest.releases import differences, match_release, totals

KNOWN = {"v1": {"train": (10,), "test": (5,)}, "v2": {"train": (12,), "test": (5,)}}


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts(name: str) -> None:
    assert match_release("Birds", KNOWN[name], KNOWN) == (name, [])


@pytest.mark.parametrize(
    ("found", "part"),
    [
        ({"train": (3,), "test": (5,)}, r"the counts (train 3) differ from every known release of Birds; not"),
        ({"train": (12,), "test": (4,)}, "of Birds (train is v2, but test has 4 instead of 5); not comparable"),
        ({"train": (10,)}, "(train is v1, but test has 0 instead of 5)"),
        ({"test": (5,)}, "the counts (test 5) differ"),
    ],
)
def test_other_counts(found: Mapping[str, tuple[int, ...]], part: str) -> None:
    variant, notes = match_release("Birds", found, KNOWN)

    assert variant == "custom"
    assert part in notes[0]


@pytest.mark.parametrize(
    ("found", "claimed", "wrong"),
    [
        (KNOWN["v2"], None, []),
        (KNOWN["v2"], "v1", []),  # another release than the folder's name says is a release all the same
        ({"train": (12,), "test": (4,)}, None, [("test has 4 images, but v2 has 5", True)]),
        (
            {"train": (3,)},
            "v1",
            [("train has 3 images, but v1 has 10", False), ("test has 0 images, but v1 has 5", False)],
        ),
        ({"train": (3,), "test": (5,)}, None, []),  # claims to be none of the two
    ],
)
def test_differences_from_the_claimed_release(
    found: Mapping[str, tuple[int, ...]], claimed: str | None, wrong: list[tuple[str, bool]]
) -> None:
    listed = differences(found, KNOWN, {"v2": ("test",)}, claimed)

    assert [(difference.message, difference.inferred) for difference in listed] == wrong


def test_the_only_release_is_claimed_by_everything() -> None:
    assert len(differences({"train": (3,), "test": (3,)}, {"v1": KNOWN["v1"]}, {})) == 2
    assert differences({"train": (3,)}, {}, {}) == []


def test_totals() -> None:
    assert totals({"train": 4, "val": 1, "test": 3}, train=("train", "val"), test=("test", "extra")) == {
        "train": (5,),
        "test": (3,),
    }
