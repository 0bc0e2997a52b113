from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, Dataset

from maskexp.data.errors import CorruptImageError, DataError, DatasetNotFoundError


class Broken(Dataset[int]):
    def __init__(self, error: type[DataError] = CorruptImageError) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise self.error("/data/a.jpg cannot be decoded; download it again")


@pytest.mark.parametrize("error", [DataError, CorruptImageError])
def test_sentence_survives_a_worker(error: type[DataError]) -> None:
    with pytest.raises(error) as caught:
        next(iter(DataLoader(Broken(error), num_workers=1)))

    assert str(caught.value) == "/data/a.jpg cannot be decoded; download it again"
    assert "__getitem__" in caught.value.__notes__[0]  # the traceback is not lost


def test_sentence_that_only_looks_like_one_of_a_worker_is_kept() -> None:
    assert str(DataError("Caught a bird")) == "Caught a bird"
    assert str(DataError("x maskexp.data.errors.DataError: y")) == "x maskexp.data.errors.DataError: y"


def test_not_found_says_where_and_how() -> None:
    error = DatasetNotFoundError.explained("Birds", "/data/birds", "ask them", "--data.root")

    assert isinstance(error, FileNotFoundError)
    assert str(error).splitlines() == [
        "Birds not found.",
        "  looked for  /data/birds",
        "  get it      ask them",
        "  set by      --data.root",
    ]
