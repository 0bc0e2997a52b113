from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, Spawrious
from maskexp.data.datasets.spawrious import COMBINATIONS, SpawriousLayout
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_spawrious

N = 10
CHALLENGES = list(COMBINATIONS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spawrious(tmp_path_factory.mktemp("data") / "spawrious224", N)


def open_it(root: Path, tmp_path: Path, **arguments: object) -> Spawrious:
    return Spawrious(str(root), cache_dir=str(tmp_path), image_size=8, num_workers=0, **arguments)


def groups(root: Path, challenge: str, split: str) -> dict[str, int]:
    """Images per group, without a validation split."""
    table = SpawriousLayout.find(root, challenge, val_fraction=0).build(verify=False)  # type: ignore[arg-type]
    names = table.card.group_names
    return dict(Counter(names[table.group_of(row)] for row in table.split(split)))


def test_one_to_one_shares(root: Path) -> None:
    first, second = int(0.97 * N), int(0.87 * N)

    assert groups(root, "o2o_easy", "train") == {
        "bulldog/desert": first + second,
        "dachshund/jungle": first + second,
        "labrador/dirt": first + second,
        "corgi/snow": first + second,
        **dict.fromkeys([f"{breed}/beach" for breed in ("bulldog", "dachshund", "labrador", "corgi")], 3),
    }
    assert groups(root, "o2o_easy", "test") == {
        "bulldog/dirt": 2 * N,
        "dachshund/snow": 2 * N,
        "labrador/desert": 2 * N,
        "corgi/jungle": 2 * N,
    }


def test_many_to_many_pairs(root: Path) -> None:
    assert groups(root, "m2m_hard", "train") == {
        **dict.fromkeys(["bulldog/dirt", "bulldog/jungle", "dachshund/dirt", "dachshund/jungle"], N),
        **dict.fromkeys(["labrador/snow", "labrador/beach", "corgi/snow", "corgi/beach"], N),
    }
    assert set(groups(root, "m2m_hard", "test")) == {
        *("bulldog/snow", "bulldog/beach", "dachshund/snow", "dachshund/beach"),
        *("labrador/dirt", "labrador/jungle", "corgi/dirt", "corgi/jungle"),
    }


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_sizes_and_no_group_in_both_splits(challenge: str, root: Path) -> None:
    train, test = groups(root, challenge, "train"), groups(root, challenge, "test")

    assert sum(train.values()) == sum(test.values()) == 8 * N  # 25344 of 3168
    assert not set(train) & set(test)


def test_first_by_name_and_held_out_by_group(root: Path, tmp_path: Path) -> None:
    data = open_it(root, tmp_path, val_fraction=0.2)
    used = [row.image for split in ("train", "val") for row in data.table.split(split) if "1/beach/corgi" in row.image]

    assert sorted(used) == ["1/beach/corgi/corgi_000.png", "1/beach/corgi/corgi_001.png"]
    counts = dict(zip(data.spec.group_names, data.table.counts("val"), strict=True))
    assert counts["corgi/snow"] == round(0.2 * 17)
    assert counts["corgi/beach"] == round(0.2 * 3)
    assert data.spec.variant == "custom"
    assert "(train 80) differ from every known release of Spawrious;" in data.notes[0]
    assert check_data("Spawrious", root=root.parent, challenge="m2m_easy", custom=True).ok


def test_bad_input(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"Spawrious not found(.|\n)*nowhere(.|\n)*data prepare Spawrious"):
        open_it(tmp_path / "nowhere", tmp_path).prepare_data()
    with pytest.raises(DataError, match="challenge is 'o2o'; it must be one of o2o_easy, o2o_medium"):
        open_it(root, tmp_path, challenge="o2o").prepare_data()
    (tmp_path / "spawrious224/0").mkdir(parents=True)
    with pytest.raises(DataError, match=r"0/desert/bulldog has no images, but o2o_easy needs them"):
        open_it(tmp_path, tmp_path / "cache").prepare_data()
