"""What is handed to SLURM, and what is read from it; a stand-in answers for its commands."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from maskexp.studies import Runs, SlurmError, Study, submit
from maskexp.studies.slurm import max_array_size, submitted
from tests.studies.stand_in import study_of

ANSWERS = {
    "sbatch": 'cat "$2" >> "{log}"; echo "4711;cluster"',
    "squeue": "printf '4711 0 PD\\n4711 1 R\\n99 N/A R\\n'",
    "scontrol": "echo 'MaxArraySize            = 3'",
}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of a SLURM that takes everything, and the file with all that sbatch was given."""
    file = tmp_path / "log"
    for name, answer in ANSWERS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{answer.format(log=file)}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return file


@pytest.fixture
def study(tmp_path: Path) -> Study:
    two = {"name": "two", "file": "erm.yaml", "overrides": {"trainer.devices": 2, "trainer.num_nodes": 3}}
    return study_of(tmp_path, ["erm.yaml", "aim.yaml", two], seeds=[0, 1])


def test_cells_that_ask_for_the_same_share_arrays_no_larger_than_the_cluster_takes(
    study: Study, tmp_path: Path, log: Path
) -> None:
    runs = Runs(tmp_path / "runs")
    assert max_array_size() == 2
    sent = submit(runs, study.cells, study.name, options={"partition": "gpu", "time": "08:00:00"}, at_once=5)
    assert [one.job for one in sent] == ["4711"] * 3
    assert sorted(len(one.folders) for one in sent) == [2, 2, 2]
    text = log.read_text()
    assert text.count("#SBATCH --array=0-1%5\n") == 3
    assert text.count("#SBATCH --partition=gpu\n#SBATCH --time=08:00:00\n") == 3
    assert text.count("#SBATCH --nodes=3\n#SBATCH --ntasks-per-node=2\n") == 1
    assert text.count("srun --wait=60 --nodes=3 --ntasks-per-node=2 ") == 1
    assert text.count("#SBATCH --requeue\n#SBATCH --signal=USR1@90\n") == 3
    assert "{{" not in text
    for one in sent:
        assert one.script.with_name("cells.txt").read_text().split() == list(one.folders)
        assert all((runs.path / folder / "cell.yaml").is_file() for folder in one.folders)


@pytest.mark.usefixtures("log")
def test_what_slurm_has_is_read_back(study: Study, tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    assert submitted(runs) == {}
    submit(runs, study.row("erm").cells, study.name)
    first, second = (cell.folder for cell in study.row("erm").cells)
    assert submitted(runs) == {first: "queued", second: "running"}
    states = runs.states(study.cells, submitted(runs))
    assert (states[first].name, states[second].name) == ("queued", "running")


def test_singleton_is_a_job_for_each_cell_under_its_own_name(study: Study, tmp_path: Path, log: Path) -> None:
    sent = submit(Runs(tmp_path / "runs"), study.row("erm").cells, study.name, singleton=True)
    assert len(sent) == 2
    for cell in study.row("erm").cells:
        assert f"--job-name=mx-{cell.address}\n" in log.read_text()
    assert log.read_text().count("--dependency=singleton") == 2


def test_a_container_comes_before_python(study: Study, tmp_path: Path, log: Path) -> None:
    submit(Runs(tmp_path / "runs"), study.cells[:1], study.name, container="apptainer exec --nv x.sif")
    assert '--ntasks-per-node=1 apptainer exec --nv x.sif"' in log.read_text()


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("template", "complaint"), [("{{cels}}", "did you mean 'cells'"), ("{{array}}{{cells}}", "has to use {{runs}}")]
)
def test_a_template_that_cannot_run_cells(template: str, complaint: str, study: Study, tmp_path: Path) -> None:
    file = tmp_path / "mine.sbatch"
    file.write_text(template)
    with pytest.raises(SlurmError) as refused:
        submit(Runs(tmp_path / "runs"), study.cells, study.name, template=file)
    assert complaint in str(refused.value)


def test_a_refusal_of_sbatch_is_passed_on(study: Study, tmp_path: Path, log: Path) -> None:
    refusing = "#!/bin/bash\necho 'sbatch: error: invalid partition specified: nowhere' >&2\nexit 1\n"
    (tmp_path / "bin" / "sbatch").write_text(refusing)
    with pytest.raises(SlurmError, match=r"sbatch refused .*job.sbatch: invalid partition specified: nowhere"):
        submit(Runs(tmp_path / "runs"), study.cells, study.name)
    assert submitted(Runs(tmp_path / "runs")) == {}


def test_without_slurm_it_says_so(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="there is no sbatch here"):
        submit(Runs(tmp_path / "runs"), study.cells, study.name)
