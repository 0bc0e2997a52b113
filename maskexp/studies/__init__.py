"""Studies: rows × seeds as resumable runs, their launchers, and the tables beside published numbers.

Nothing here imports torch: a cell is a command, and what it measured is read from its record.
"""

from maskexp.studies.cells import Attempt, CellState, Runs, run_cell
from maskexp.studies.pool import Pool, gpu_slots
from maskexp.studies.rendering import RENDERERS
from maskexp.studies.slurm import SlurmError, Submission, submit
from maskexp.studies.study import Cell, Column, Pair, Published, Row, Study, StudyError
from maskexp.studies.study_file import read_study
from maskexp.studies.table import Difference, StudyTable, tabulate_study
from maskexp.studies.verdicts import Comparison, Sample, compare, compare_rows

__all__ = [
    "RENDERERS",
    "Attempt",
    "Cell",
    "CellState",
    "Column",
    "Comparison",
    "Difference",
    "Pair",
    "Pool",
    "Published",
    "Row",
    "Runs",
    "Sample",
    "SlurmError",
    "Study",
    "StudyError",
    "StudyTable",
    "Submission",
    "compare",
    "compare_rows",
    "gpu_slots",
    "read_study",
    "run_cell",
    "submit",
    "tabulate_study",
]
