"""What a run leaves behind: its directory, its provenance, its table.

Example:
    >>> import tempfile
    >>> run = RunDirectory(tempfile.mkdtemp())
    >>> run.update_metrics({"test/acc": 0.9, "test/epg": float("nan")})
    []
    >>> run.read_metrics()
    {'test/acc': 0.9, 'test/epg': None}
    >>> tabulate({"test/localization/epg": 0.5, "test/localization/epg_random": 0.25})
    [['metric', 'test', 'random'], ['localization/epg', '0.5000', '0.2500']]
"""

from maskexp.results.charts import write_charts
from maskexp.results.recorder import RunRecorder
from maskexp.results.run_directory import RunDirectory, RunDirectoryError
from maskexp.results.summary import print_summary, tabulate, write_table

__all__ = [
    "RunDirectory",
    "RunDirectoryError",
    "RunRecorder",
    "print_summary",
    "tabulate",
    "write_charts",
    "write_table",
]
