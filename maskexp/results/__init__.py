"""What a run leaves behind: its directory, its provenance, its table."""

from maskexp.results.charts import write_charts
from maskexp.results.recorder import RunRecorder
from maskexp.results.run_directory import RunDirectory, RunDirectoryError
from maskexp.results.summary import print_summary, write_table

__all__ = ["RunDirectory", "RunDirectoryError", "RunRecorder", "print_summary", "write_charts", "write_table"]
