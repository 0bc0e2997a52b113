"""Removal of segments: which ones, in which order, and what the network then says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskexp.attribution.segments import Patches
from maskexp.evaluation.missingness import Missingness, Order, removal_ranks
from tests.distributed import run_ranks
from tests.evaluation.doubles import ColourMeans, Explained, batch, coloured, coloured_answers, named, spec

SMALL = {"hiding": ("black", "layer"), "segments": ("patches4", "patches2")}


def test_values_that_can_be_worked_out() -> None:
    """Four patches, the first of which holds the class: black is class 0 by its index as soon as nothing is left."""
    evaluation = Missingness(("black",), ("patches4",), ("most_salient", "least_salient"), (0.0, 0.25, 1.0))
    classifier, (images, label) = Explained(ColourMeans()), coloured()
    images = torch.where(batch(images, label)["foreground"], images, 0)  # nothing but the coloured quarter
    evaluation.prepare(spec(), classifier.network)
    evaluation.update(classifier, batch(images, label), classifier(images))
    lines = {curve.name: curve.series["black"] for curve in evaluation.charts()}
    assert lines["missingness/patches4_most_salient_acc"] == pytest.approx([1, 1 / 3, 1 / 3])
    assert lines["missingness/patches4_least_salient_acc"] == pytest.approx([1, 1, 1 / 3])
    assert lines["missingness/patches4_most_salient_unchanged"] == pytest.approx([1, 1 / 3, 1 / 3])
    assert lines["missingness/patches4_most_salient_class_entropy"] == pytest.approx([np.log(3), 0, 0], abs=1e-6)
    values = named(evaluation.compute())
    assert values["missingness/black/patches4/least_salient/acc"] == pytest.approx(7 / 9)
    assert values["missingness/black/acc"] == pytest.approx((7 / 9 + 5 / 9) / 2)


def test_layer_masking_keeps_what_is_left() -> None:
    """With three red quarters of four all images are red; the mean over the visible quarter keeps its colour."""
    evaluation = Missingness(("#ff0000", "layer"), ("patches4",), ("least_salient",), (0.0, 0.75))
    coloured_answers(evaluation, [list(range(6))])
    (acc, *_) = evaluation.charts()
    assert acc.series["layer"] == [1, 1]
    assert acc.series["#ff0000"] == [1, pytest.approx(1 / 3)]


def test_salient_orders_remove_the_foreground_first_or_last() -> None:
    segments = Patches(2)(torch.zeros(2, 3, 8, 8))
    foreground = batch(torch.zeros(2, 3, 8, 8), [0, 0])["foreground"][:, 0]
    index = torch.tensor([3, 8])
    first = removal_ranks("most_salient", segments, foreground, index)
    last = removal_ranks("least_salient", segments, foreground, index)
    assert first[foreground].max() == 3
    assert last[foreground].min() == 12
    assert not torch.equal(first[0], first[1])  # equals are shuffled
    overlapping = torch.zeros(1, 8, 8, dtype=torch.bool)
    overlapping[0, :2, :3] = True  # 4 pixels of the first patch, 2 of the second
    ranks = removal_ranks("most_salient", segments[:1], overlapping, index[:1])
    assert (ranks[0, 0, 0], ranks[0, 0, 2]) == (0, 1)


@pytest.mark.parametrize("order", ["random", "most_salient", "least_salient"])
def test_an_order_is_a_permutation_that_depends_on_the_row_alone(order: Order) -> None:
    segments = Patches(2)(torch.zeros(3, 3, 8, 8))
    foreground = torch.zeros(3, 8, 8, dtype=torch.bool)
    ranks = removal_ranks(order, segments, foreground, torch.tensor([5, 6, 7]))
    assert all(sorted(image.unique().tolist()) == list(range(16)) for image in ranks)
    assert torch.equal(ranks[1:2], removal_ranks(order, segments[:1], foreground[:1], torch.tensor([6])))
    assert not torch.equal(ranks, removal_ranks(order, segments, foreground, torch.tensor([5, 6, 7]), seed=1))


def test_the_published_number_of_segments_is_removed() -> None:
    """int(d * 100), also where the product falls a little short of a whole number in float64 or float32."""
    evaluation = Missingness(("black",), ("patches1",), ("random",), (0.53, 0.57))
    seen: list[float] = []
    classifier = Explained(ColourMeans())
    classifier.network.register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0] == 0).sum().item() / 3)
    )
    evaluation.prepare(spec(), classifier.network)
    images = torch.ones(1, 3, 10, 10)
    evaluation.update(classifier, batch(images, [0]), classifier(images))
    assert {53, 57} <= set(seen)
    assert [len(line) for curve in evaluation.charts() for line in curve.series.values()] == [2, 2, 2]


@pytest.mark.parametrize("batches", [[[0], [5, 2], [1, 3, 4]], [[5, 4, 3, 2, 1, 0], []]])
def test_batches_do_not_change_a_bit(batches: list[list[int]]) -> None:
    assert coloured_answers(Missingness(**SMALL), batches) == coloured_answers(Missingness(**SMALL), [list(range(6))])


def _on_ranks(rank: int, world_size: int) -> list[dict[str, float]]:
    shards = ([[[4, 1], [0]], [[2, 3, 5]]], [[], [list(range(6))]])
    return [coloured_answers(Missingness(**SMALL), shard[rank]) for shard in shards]


def test_two_ranks_say_what_one_process_says() -> None:
    whole = coloured_answers(Missingness(**SMALL), [list(range(6))])
    assert run_ranks(_on_ranks, 2, timeout=120) == [[whole, whole], [whole, whole]]


def test_every_takes_rows_of_the_split() -> None:
    assert coloured_answers(Missingness(every=3, **SMALL), [[0, 1, 2], [3, 4, 5]]) == coloured_answers(
        Missingness(**SMALL), [[0, 3]]
    )


def test_images_without_a_foreground_have_no_order_by_saliency() -> None:
    classifier, (images, label) = Explained(ColourMeans()), coloured(2)
    part = batch(images, label)
    part["has_foreground"][1] = False
    evaluation = Missingness(("black",), ("patches4",))
    evaluation.prepare(spec(), classifier.network)
    evaluation.update(classifier, part, classifier(images))
    counted = {name: int(metric.count) for name, metric in evaluation.counts.items()}
    assert counted == {"black/patches4/random": 2, "black/patches4/most_salient": 1, "black/patches4/least_salient": 1}


def test_similarity_to_the_label_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "similarity.npy"
    np.save(path, np.eye(3) + 0.5)
    evaluation = Missingness(("layer",), ("patches4",), ("random",), (0.0, 0.5), similarity=str(path))
    values = coloured_answers(evaluation, [list(range(6))])
    assert values["missingness/layer/similarity"] == pytest.approx(values["missingness/layer/acc"] + 0.5, abs=1e-9)
    assert any(curve.name.endswith("_similarity") for curve in evaluation.charts())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.eye(3)}, "holds no array of numbers"),
        (np.array([["a"]]), "holds no array of numbers"),
        (np.eye(3)[:2], r"holds \(2, 3\) values; a similarity matrix is square"),
        (np.full((3, 3), np.nan), r"holds \(3, 3\) values; a similarity matrix is square and finite"),
    ],
)
def test_a_wrong_similarity_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "similarity.npy"
    with path.open("wb") as file:
        np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    with pytest.raises(ValueError, match=f"similarity.npy {message}"):
        Missingness(similarity=str(path))


@pytest.mark.parametrize("empty", ["hiding", "segments", "orders", "fractions"])
def test_empty_lists_judge_nothing_and_are_refused(empty: str) -> None:
    with pytest.raises(ValueError, match=r"there is no way of hiding|is empty, so that nothing would be judged"):
        Missingness(**{empty: ()})  # type: ignore[arg-type]


def test_reset_forgets() -> None:
    evaluation = Missingness(**SMALL)
    once = coloured_answers(evaluation, [list(range(6))])
    evaluation.reset()
    assert coloured_answers(evaluation, [list(range(6))]) == once


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    network = Explained(ColourMeans()).network
    with pytest.raises(ValueError, match=r"toy has no foregrounds.*orders: \[random\]"):
        Missingness().prepare(spec(foreground="none"), network)
    Missingness(orders=("random",)).prepare(spec(foreground="none"), network)
    np.save(tmp_path / "two.npy", np.eye(2))
    np.save(tmp_path / "wide.npy", np.ones((2, 3)))
    (tmp_path / "text.npy").write_text("nothing")
    with pytest.raises(ValueError, match="3 classes need a similarity matrix"):
        Missingness(similarity=str(tmp_path / "two.npy")).prepare(spec(), network)
    with pytest.raises(ValueError, match="a similarity matrix is square and finite"):
        Missingness(similarity=str(tmp_path / "wide.npy"))
    with pytest.raises(ValueError, match=r"no \.npy file that can be read safely"):
        Missingness(similarity=str(tmp_path / "text.npy"))
    with pytest.raises(FileNotFoundError, match="no similarity matrix"):
        Missingness(similarity=str(tmp_path / "none.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hiding": ["gray"]}, "no way of hiding called 'gray'"),
        ({"segments": ["squares"]}, "unknown segments 'squares'"),
        ({"orders": ["salient"]}, "there is no order 'salient'; choose random, most_salient"),
        ({"fractions": [0.5, 1.5]}, r"a removed fraction is 1\.5; it must be in \[0, 1\]"),
        ({"every": 0}, "every is 0; 1 takes every image"),
    ],
)
def test_unknown_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Missingness(**arguments)  # type: ignore[arg-type]
