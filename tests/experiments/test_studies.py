"""Every shipped study reads, each of its rows starts by itself, and published numbers carry their source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from maskexp.cli.main import main
from maskexp.cli.matrix import open_study
from maskexp.studies import Study

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
STUDIES = {file.relative_to(EXPERIMENTS).as_posix(): file for file in sorted(EXPERIMENTS.rglob("*_study.yaml"))}


def rows() -> list[tuple[str, str]]:
    """Every row that can be run, but those whose run is another's."""
    found: dict[str, tuple[str, str]] = {}
    for name, file in STUDIES.items():
        for row in open_study(str(file)).rows:
            if row.cells:
                found.setdefault(row.cells[0].folder, (name, row.name))
    return list(found.values())


def test_every_table_is_there() -> None:
    assert {
        "quickstart_study.yaml",
        "aim/main_study.yaml",
        "aim/cub_ablation_study.yaml",
        "aim/imagenet100_study.yaml",
        "aim/hardimagenet_study.yaml",
        "comet/table2_imagenet9_study.yaml",
        "comet/table2_nicopp_study.yaml",
        "comet/table3_study.yaml",
        "comet/table4_study.yaml",
        "comet/table5_imagenet9_study.yaml",
        "comet/table5_nicopp_study.yaml",
        "comet/table6_study.yaml",
        "layer_masking/means_study.yaml",
        "layer_masking/curves_study.yaml",
        "waterbirds/robust_study.yaml",
        "synthetic/robust_study.yaml",
    } <= STUDIES.keys()


def test_names_are_unique() -> None:
    names = [open_study(str(file)).name for file in STUDIES.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", STUDIES)
def test_runs_of_a_study_are_told_apart(name: str) -> None:
    study: Study = open_study(str(STUDIES[name]))
    for row in study.rows:
        assert len({cell.folder for cell in row.cells}) == len(row.cells), "a seed that changes nothing"
        assert row.published is None or row.published.source


@pytest.mark.parametrize(("study", "row"), rows())
def test_a_row_starts_by_itself(study: str, row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(STUDIES[study]), "--row", row, "--print_config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    wanted = open_study(str(STUDIES[study])).row(row).cells[0].config
    assert config["seed_everything"] == wanted["seed_everything"]
    assert config["model"]["class_path"].endswith(wanted["model"]["class_path"])


@pytest.mark.parametrize(
    ("study", "row", "metric", "value"),
    [
        ("aim/main_study.yaml", "wb100_aim_35", "test/acc_worst_group", (78.1, None)),
        ("aim/main_study.yaml", "tb_aim_25", "test/epg_grad_cam", (85.0, None)),
        ("aim/cub_ablation_study.yaml", "bottom_up_1", "test/acc", (72.79, 8.51)),
        ("comet/table2_imagenet9_study.yaml", "comet", "test/acc", (94.33, 0.37)),
        ("comet/table2_nicopp_study.yaml", "comet_td", "test/noise/acc_90", (38.30, 0.17)),
        ("comet/table5_nicopp_study.yaml", "comet", "test/fidelity/#868572/predictor/20", (2.74, 0.49)),
        ("waterbirds/robust_study.yaml", "erm_jtt", "test/acc_adjusted", (97.3, None)),
        ("waterbirds/robust_study.yaml", "dfr", "test/acc_worst_group", (92.9, None)),
        ("layer_masking/curves_study.yaml", "layer", "test/missingness/curve/50", (0.729, None)),
    ],
)
def test_published_numbers(study: str, row: str, metric: str, value: tuple[float, float | None]) -> None:
    published = next(one for one in open_study(str(STUDIES[study])).rows if one.name == row).published
    assert published is not None
    assert published.values[metric] == value
