"""Reports: what a run, several runs or a study came to, as one file that a browser opens from disk.

Nothing here imports torch: images and maps come as arrays, results from the files that runs leave.

Example:
    >>> from maskexp.reports import Report, render
    >>> page = render(Report(title="Birds & <masks>"))
    >>> "Birds &amp; &lt;masks&gt;" in page
    True
"""

from maskexp.reports.gallery import Gallery, ImageSet, Judged, Model, Picture, picture_of
from maskexp.reports.page import Report, StudyTable, render
from maskexp.reports.records import RecordError, RunRecord, find_runs, read_run

__all__ = [
    "Gallery",
    "ImageSet",
    "Judged",
    "Model",
    "Picture",
    "RecordError",
    "Report",
    "RunRecord",
    "StudyTable",
    "find_runs",
    "picture_of",
    "read_run",
    "render",
]
