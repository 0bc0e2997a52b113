"""Studies: rows × seeds as resumable runs, their launchers, and the tables beside published numbers.

Nothing here imports torch: a cell is a command, and what it measured is read from its record.
"""

from maskexp.studies.cells import Attempt, CellState, Runs, run_cell
from maskexp.studies.pool import Pool, gpu_slots
from maskexp.studies.slurm import SlurmError, Submission, submit
from maskexp.studies.study import Cell, Column, Published, Row, Study, StudyError, read_study
from maskexp.studies.table import RENDERERS, StudyTable, tabulate_study
from maskexp.studies.verdicts import Comparison, Sample, compare

__all__ = [
    "RENDERERS",
    "Attempt",
    "Cell",
    "CellState",
    "Column",
    "Comparison",
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
    "gpu_slots",
    "read_study",
    "run_cell",
    "submit",
    "tabulate_study",
]
