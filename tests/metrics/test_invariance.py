"""However the images are split, ordered or typed, a metric says what its definition says of the whole set."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_sum

from maskexp.metrics import PixelAveragePrecision
from tests.distributed import run_ranks
from tests.metrics.case import IMAGES, Values
from tests.metrics.cases import cases, computed, update_in_batches
from tests.metrics.maps import drawn_maps, two_ramps

pytestmark = pytest.mark.filterwarnings("ignore:no sample of group")
NAMES = sorted(cases())
WHOLE = [list(range(IMAGES))]
SHARDINGS = {  # by name, the batches of each of the two ranks
    "unequal": [[[6, 1], [3]], [[0, 5], [2], [4]]],
    "rank without images": [[], [[0, 1, 2], [3, 4, 5], [6]]],
}


def states(metric: torch.nn.Module) -> dict[str, Tensor]:
    return {name: getattr(metric, name) for name in metric._defaults}  # type: ignore[union-attr]


def expected(name: str, inputs: tuple[Any, ...] | None = None) -> Values:
    case = cases()[name]
    arrays = [
        argument.double().numpy() if argument.is_floating_point() else argument.numpy()
        for argument in inputs or case.inputs
        if isinstance(argument, Tensor)
    ]
    return case.loop(*arrays)


@pytest.mark.parametrize("name", NAMES)
def test_one_batch_is_the_definition(name: str) -> None:
    case = cases()[name]
    assert computed(update_in_batches(case.make(), case.inputs, WHOLE)) == pytest.approx(expected(name), abs=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batches", [[[i] for i in range(IMAGES)], [[6, 2, 0], [], [1, 5], [4, 3]]])
def test_split_and_order_do_not_change_a_bit(name: str, batches: list[list[int]]) -> None:
    case = cases()[name]
    whole = update_in_batches(case.make(), case.inputs, WHOLE)
    split = update_in_batches(case.make(), case.inputs, batches)
    assert all(torch.equal(state, states(split)[key]) for key, state in states(whole).items())
    assert computed(split) == computed(whole)


@pytest.mark.parametrize("name", NAMES)
def test_states_are_integer_sums(name: str) -> None:
    metric = cases()[name].make()
    assert {state.dtype for state in states(metric).values()} == {torch.int64}
    assert set(metric._reductions.values()) == {dim_zero_sum}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_type_of_the_input_is_kept_exactly(name: str, dtype: torch.dtype) -> None:
    case = cases()[name]
    inputs = tuple(a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a for a in case.inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metric = update_in_batches(case.make(), inputs, WHOLE)
        assert computed(metric) == pytest.approx(expected(name, inputs), abs=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_is_reset_copied_pickled_and_saved(name: str) -> None:
    case = cases()[name]
    metric = update_in_batches(case.make(), case.inputs, WHOLE)
    before = computed(metric)
    assert computed(copy.deepcopy(metric)) == computed(pickle.loads(pickle.dumps(metric))) == before  # noqa: S301
    assert metric.state_dict() == {}  # a checkpoint of the network is not changed by its metrics
    metric.persistent(True)
    restored = case.make()
    restored.persistent(True)
    restored.load_state_dict(metric.state_dict())
    restored._update_count = 1
    assert computed(restored) == before
    metric.reset()
    assert computed(update_in_batches(metric, case.inputs, WHOLE)) == before


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_of_the_module_leaves_states_alone(name: str) -> None:
    case = cases()[name]
    metric = case.make()
    torch.nn.ModuleList([metric]).half().bfloat16()
    before = computed(update_in_batches(case.make(), case.inputs, WHOLE))
    assert computed(update_in_batches(metric, case.inputs, WHOLE)) == before


def _on_ranks(rank: int, world_size: int) -> dict[str, dict[str, Values]]:
    warnings.simplefilter("ignore")  # a rank without images computes before it was updated, on purpose
    result = {
        name: {
            sharding: computed(update_in_batches(case.make(), case.inputs, batches[rank]))
            for sharding, batches in SHARDINGS.items()
        }
        for name, case in cases().items()
    }
    pooled = {}
    for name, (maps, foreground), first in [("two ramps", two_ramps(), 1), ("drawn", drawn_maps(), 5)]:
        mine = slice(None, first) if rank == 0 else slice(first, None)
        metric = PixelAveragePrecision()
        metric.update(maps[mine], foreground[mine])
        pooled[name] = computed(metric)
        assert metric.histograms.sum() == foreground[mine].numel()  # afterwards a rank has its own counts again
    return result | {"pooled": pooled}


def test_two_ranks_say_what_one_process_says() -> None:
    on_ranks = run_ranks(_on_ranks, 2, timeout=120)
    assert on_ranks[0] == on_ranks[1]
    for name, case in cases().items():
        whole = computed(update_in_batches(case.make(), case.inputs, WHOLE))
        for sharding in SHARDINGS:
            assert on_ranks[0][name][sharding] == whole, (name, sharding)
    values = {name: 100 * result["value"] for name, result in on_ranks[0]["pooled"].items()}
    assert values == pytest.approx(
        {"two ramps": 48.722057, "drawn": 65.685959}, abs=1e-6
    )  # not the means, 49.55 and 65.90
