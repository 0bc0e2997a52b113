"""DFR: against scikit-learn alone, following the released code step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, DFR, ERM, load_method
from maskexp.methods.dfr import Split, balanced_subset, choose_c, logistic_regression, retrained
from maskexp.methods.passes import over_split

SMALL: dict[str, Any] = {"backbone": "test_resnet", "weights": None}


def drawn(counts: tuple[int, ...], seed: int, classes: int = 2, features: int = 12) -> Split:
    """Features in which the attribute shows more clearly than the label, on another scale each."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(counts)), counts)
    attributes = len(counts) // classes
    labels, attribute = groups // attributes, groups % attributes
    x = rng.normal(size=(len(groups), features))
    x[:, 0] += 1.5 * labels
    x[:, 1] += 3.0 * attribute
    return x * rng.uniform(0.1, 10, features) + rng.normal(size=features), labels, groups


def test_the_last_layer_is_the_mean_of_scikit_learns_regressions_on_the_same_subsets() -> None:
    train, val = drawn((90, 10, 10, 90), 0), drawn((30, 20, 9, 25), 1)
    weight, bias = retrained(val, train[0], 0.3, 4, np.random.default_rng(7))

    rng, scaler = np.random.default_rng(7), StandardScaler().fit(train[0])
    coefficients, intercepts = [], []
    for _ in range(4):
        rows = balanced_subset(val[2], rng)
        solved = LogisticRegression(C=0.3, l1_ratio=1.0, solver="liblinear", random_state=0)
        solved.fit(scaler.transform(val[0][rows]), val[1][rows])
        coefficients.append(solved.coef_[0])
        intercepts.append(solved.intercept_[0])
    logit = scaler.transform(val[0]) @ np.mean(coefficients, axis=0) + np.mean(intercepts)
    logits = val[0] @ weight.T + bias
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], logit, rtol=1e-9)
    assert (weight == 0).any(), "an L1 penalty drops features"


def test_of_several_classes_each_is_told_from_all_others() -> None:
    x, labels, _ = drawn((40, 40, 40), 3, classes=3)
    weight, bias = logistic_regression(x, labels, 3, 0.5)
    for label in range(3):
        alone = LogisticRegression(C=0.5, l1_ratio=1.0, solver="liblinear", random_state=0).fit(x, labels == label)
        np.testing.assert_allclose(weight[label], alone.coef_[0])
        np.testing.assert_allclose(bias[label], alone.intercept_[0])


def test_a_balanced_subset_holds_every_group_as_often_as_the_smallest() -> None:
    groups = np.array([0] * 9 + [1] * 4 + [-1] * 5 + [3] * 6)
    rows = balanced_subset(groups, np.random.default_rng(0))
    assert len(set(rows)) == len(rows)
    assert np.bincount(groups[rows], minlength=4).tolist() == [4, 4, 0, 4]
    others = balanced_subset(groups, np.random.default_rng(1))
    assert sorted(rows) != sorted(others)


@pytest.mark.parametrize("balanced", ["validation", "training"])
def test_c_is_that_of_the_best_worst_group_on_images_that_were_not_learned_from(balanced: str) -> None:
    train, val = drawn((90, 12, 12, 90), 0), drawn((40, 30, 30, 40), 1)
    c_values = (1.0, 0.1, 0.01, 1e-6)
    found = choose_c(train, val, balanced, c_values, 1, np.random.default_rng(5))

    rng = np.random.default_rng(5)
    if balanced == "validation":
        order = rng.permutation(len(val[0]))
        judged, learned = order[:70], order[70:]
        learned = learned[balanced_subset(val[2][learned], rng)]
        x, y, scaler = val[0][learned], val[1][learned], StandardScaler().fit(val[0][learned])
    else:
        rows = balanced_subset(train[2], rng)
        x, y, scaler, judged = train[0][rows], train[1][rows], StandardScaler().fit(train[0]), np.arange(140)
    worst = []
    for c in c_values:
        solved = LogisticRegression(C=c, l1_ratio=1.0, solver="liblinear", random_state=0).fit(scaler.transform(x), y)
        right = solved.predict(scaler.transform(val[0][judged])) == val[1][judged]
        worst.append(min(right[val[2][judged] == group].mean() for group in range(4)))
    assert len(set(worst)) > 1
    assert found == c_values[int(np.argmax(worst))]


@pytest.fixture(scope="module")
def erm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ERM's checkpoint."""
    path = tmp_path_factory.mktemp("erm") / "erm.ckpt"
    torch.manual_seed(0)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)
    run.fit(ERM(**SMALL), _birds())
    run.save_checkpoint(path)
    return path


def _birds() -> SyntheticBirds:
    return SyntheticBirds(correlation=0.75, image_size=32, train_size=16, val_size=8, test_size=12, batch_size=8)


def test_the_network_of_the_classifier_stays_and_its_last_layer_is_what_the_features_say(
    erm: Path, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    method, data = DFR(**SMALL, classifier_checkpoint=str(erm), fits=3, c_values=[10.0]), _birds()
    run = trainer(max_epochs=5)
    run.fit(method, data)
    assert run.current_epoch == 1, "nothing is left to do after one step"

    before, after = load_method(erm).state_dict(), method.state_dict()
    head = {name for name in after if not torch.equal(after[name], before[name])}
    assert head == {"network.network.fc.weight", "network.network.fc.bias"}
    method.eval()
    split: dict[str, Split] = {}
    for name in ("train", "val"):
        images, rows = data.fetch(name, range(len(data.dataset(name))))["image"], data.dataset(name)
        pooled = method(images).features.mean(dim=(2, 3)).detach().double().numpy()
        split[name] = (pooled, rows.label, rows.group)
    rng = np.random.default_rng(0)
    assert choose_c(split["train"], split["val"], "validation", (10.0,), 1, rng) == 10.0
    weight, bias = retrained(split["val"], split["train"][0], 10.0, 3, rng)
    np.testing.assert_allclose(method.network.network.fc.weight.detach(), weight, atol=1e-3 * abs(weight).max())
    np.testing.assert_allclose(method.network.network.fc.bias.detach(), bias, atol=1e-3 * abs(bias).max())
    run.save_checkpoint(tmp_path / "dfr.ckpt")
    again = load_method(tmp_path / "dfr.ckpt")
    assert torch.equal(again(images).logits, method(images).logits)


def test_what_no_last_layer_can_learn_from_is_refused(erm: Path, trainer: Callable[..., Trainer]) -> None:
    data = _birds()
    groups = np.array(data.dataset("val").group)
    data.dataset("val").group = np.where(groups == 2, 3, groups)
    with pytest.raises(ValueError, match="waterbird/land of synthetic_birds has fewer than 2 images in split 'val'"):
        trainer().fit(DFR(**SMALL, classifier_checkpoint=str(erm)), data)
    with pytest.raises(ValueError, match="DFR begins with a trained classifier: give classifier_checkpoint"):
        trainer().fit(DFR(**SMALL), _birds())
    with pytest.raises(ValueError, match="the classifier of DFR is a small_convnet"):
        trainer().fit(DFR(backbone="small_convnet", weights=None, classifier_checkpoint=str(erm)), _birds())


def test_a_checkpoint_of_another_method_is_refused(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    run = trainer(fast_dev_run=False)
    run.fit(AIM(**SMALL), _birds())
    run.save_checkpoint(tmp_path / "aim.ckpt")
    with pytest.raises(ValueError, match="holds the method AIM; DFR needs a classifier of ERM"):
        trainer().fit(DFR(**SMALL, classifier_checkpoint=str(tmp_path / "aim.ckpt")), _birds())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"balanced": "test"}, "validation or training images"),
        ({"fits": 0}, "fits is 0; it must be at least 1"),
        ({"c_values": [0.0]}, "each above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DFR(**SMALL, **arguments)


def test_training_images_need_their_groups() -> None:
    assert DFR(**SMALL).supervision == "group labels in validation"
    assert DFR(**SMALL, balanced="training").supervision == "group labels in training"


def _first_pixels(rank: int, world_size: int, size: int) -> torch.Tensor:
    data = SyntheticBirds(image_size=8, train_size=8, val_size=size, test_size=8, eval_batch_size=3, num_workers=0)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    run: Any = SimpleNamespace(global_rank=rank, world_size=world_size, datamodule=data, strategy=strategy)
    data.trainer = run
    return over_split(run, "val", "the test", lambda images, labels, rows: images[:, :, 0, 0])


@pytest.mark.slow
def test_two_processes_with_unequal_shares_see_every_image_in_its_place() -> None:
    from tests.distributed import run_ranks

    alone = _first_pixels(0, 1, 7)
    assert alone.shape == (7, 3)
    for shared in run_ranks(_first_pixels, 2, 7):
        assert torch.equal(shared, alone)


def test_both_halves_of_the_validation_images_have_every_group() -> None:
    val = drawn((2, 2, 2, 2), 0)
    for seed in range(50):
        assert choose_c(val, val, "validation", (1.0, 0.1), 2, np.random.default_rng(seed)) in (1.0, 0.1)
    with pytest.raises(ValueError, match="random halves of the validation images left a group out"):
        choose_c(val, drawn((1, 2, 2, 2), 0), "validation", (1.0,), 2, np.random.default_rng(0))
