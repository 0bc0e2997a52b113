from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest

import maskexp.data.generate.drawn as drawing
from maskexp.data import DataError, SyntheticBirds
from maskexp.data.generate.synthetic_birds import assign_places, render

PINNED = "ad9b27c529219a529af17c7d9eabc481db684296398ee5281f31571ed40ddc68"
"""sha256 of 60 images; a change means another data set: count VERSION up and measure published numbers anew."""


def test_pixels_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256()
    for i in range(60):
        digest.update(render(i % 3, i % 3, i, i % 2, i // 2 % 2, (64, 33, 96)[i % 3]).tobytes())

    assert digest.hexdigest() == PINNED


@pytest.mark.parametrize("path", sorted(Path(drawing.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_drawing_uses_only_arithmetic_that_rounds_alike_everywhere(path: Path) -> None:
    allowed = {"abs", "any", "array", "asarray", "arange", "astype", "broadcast_shapes", "concatenate", "float64"}
    allowed |= {"full", "int64", "maximum", "minimum", "ndarray", "random", "Generator", "reshape", "sqrt", "uint8"}
    allowed |= {"inf", "where", "zeros"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np"
    }
    drawn = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rng"
    }
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    powers = [node for node in ast.walk(tree) if isinstance(node, ast.Pow)]

    assert used <= allowed
    assert drawn <= {"random", "integers"}
    assert not names & {"sum", "math", "pow"}
    assert not powers


def test_image_depends_on_seed_split_and_index() -> None:
    first = render(0, 0, 0, 1, 1, 32)

    assert np.array_equal(render(0, 0, 0, 1, 1, 32), first)
    for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not np.array_equal(render(*key, 1, 1, 32), first)


def test_bird_does_not_depend_on_the_scene() -> None:
    for index in range(20):
        land, water = render(0, 0, index, index % 2, 0, 48), render(0, 0, index, index % 2, 1, 48)
        inside = land[3] == 255
        assert np.array_equal(land[3], water[3])
        assert np.abs(land[:3, inside].astype(int) - water[:3, inside]).max() <= 1  # 255 may be a cover of 0.998
        assert not np.array_equal(land[:3, land[3] == 0], water[:3, land[3] == 0])


@pytest.mark.parametrize("kind", [0, 1])
def test_birds_are_whole_and_of_useful_size(kind: int) -> None:
    masks = np.stack([render(0, 0, index, kind, 0, 64)[3] for index in range(150)])
    areas = (masks >= 128).mean(axis=(1, 2))

    assert areas.min() > 0.06
    assert areas.max() < 0.32
    assert areas.std() > 0.02
    assert masks[:, [0, -1]].max() == 0  # no bird touches the edge
    assert masks[:, :, [0, -1]].max() == 0


def test_kinds_differ_in_shape() -> None:
    def fill(kind: int, index: int) -> float:
        inside = render(0, 0, index, kind, 0, 48)[3] >= 128
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        return float(inside.sum() / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)))

    land, water = ([fill(kind, index) for index in range(100)] for kind in (0, 1))

    assert min(land) > float(np.mean(water))  # the box around a long neck and long legs is emptier


def test_kinds_share_their_plumage() -> None:
    # The colours are drawn before the kind is looked at: the same draws give both kinds the same palette.
    def colours(kind: int, index: int) -> dict[tuple[int, ...], int]:
        pixels = render(0, 0, index, kind, 0, 96)
        found, counts = np.unique(pixels[:3, pixels[3] == 255], axis=1, return_counts=True)
        return {tuple(colour): int(count) for colour, count in zip(found.T, counts, strict=True) if count > 10}

    for index in range(20):
        land, water = colours(0, index), colours(1, index)
        assert max(land, key=land.__getitem__) in water
        assert max(water, key=water.__getitem__) in land


@pytest.mark.parametrize("correlation", [0.5, 0.7, 0.9, 0.95, 0.98, 1.0])
@pytest.mark.parametrize("size", [4, 101, 2000])
def test_places_follow_the_rounding_rule(correlation: float, size: int) -> None:
    places = assign_places(size, correlation, 0, 0)

    land_birds, water_birds = size - size // 2, size // 2
    assert places[0::2].sum() == round((1 - correlation) * land_birds)
    assert places[1::2].sum() == round(correlation * water_birds)


def test_correlation_moves_birds_one_way_only() -> None:
    low, high = assign_places(400, 0.6, 0, 0), assign_places(400, 0.9, 0, 0)

    assert (high[0::2] <= low[0::2]).all()
    assert (high[1::2] >= low[1::2]).all()


def test_evaluation_is_balanced_and_training_correlated() -> None:
    data = SyntheticBirds(image_size=16, train_size=200, val_size=40, test_size=80)

    assert data.spec.train_group_counts == (95, 5, 5, 95)
    assert data.table.counts("val") == (10, 10, 10, 10)
    assert data.table.counts("test") == (20, 20, 20, 20)
    assert data.dataset("val").group_counts().tolist() == [10, 10, 10, 10]


def test_digest_follows_the_arguments_that_change_pixels() -> None:
    def digest(**arguments: float) -> str:
        sizes = {"image_size": 16, "train_size": 20, "val_size": 4, "test_size": 4}
        return SyntheticBirds(**(sizes | arguments)).digest  # type: ignore[arg-type]

    assert digest() == digest()
    assert len({digest(), digest(seed=1), digest(image_size=24), digest(correlation=0.5), digest(train_size=24)}) == 5


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("correlation", 0.4, r"correlation is 0\.4; it must be in \[0\.5, 1\]"),
        ("correlation", 1.1, r"correlation is 1\.1"),
        ("val_size", 3, "val_size is 3; four groups need at least 4 images"),
    ],
)
def test_arguments_out_of_range(argument: str, value: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SyntheticBirds(**{argument: value})  # type: ignore[arg-type]
