"""Scene graphs of GQA (Hudson & Manning, CVPR 2019): boxes of the objects in pictures of Visual Genome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskexp.data.errors import DataError, DatasetNotFoundError
from maskexp.data.manifest.table import Box

__all__ = ["read_object_boxes", "scene_graph_files"]

FILES = ("train_sceneGraphs.json", "val_sceneGraphs.json")
Wanted = tuple[str, str]
GET_IT = "https://nlp.stanford.edu/data/gqa/sceneGraphs.zip"


def scene_graph_files(place: Path) -> list[Path]:
    """Return the files of scene graphs: one that was named, or those of a folder.

    Raises:
        DatasetNotFoundError: if there is none.
    """
    files = [place] if place.is_file() else [place / name for name in FILES if (place / name).is_file()]
    if not files:
        raise DatasetNotFoundError.explained(
            "GQA's scene graphs", f"{place / FILES[0]} and {FILES[1]}", GET_IT, "--data.scene_graphs"
        )
    return files


def read_object_boxes(files: Sequence[Path], wanted: Iterable[Wanted]) -> dict[Wanted, list[Box]]:
    """Read the boxes of all objects of a name in a picture, for several pictures and names.

    The form of the files, ``{picture: {"objects": {id: {"name", "x", "y", "w", "h"}}}}``, is inferred: it was not
    compared with a download.

    Args:
        files: scene graphs.
        wanted: number of the picture and name of the object.

    Returns:
        Half-open corners by what was wanted; pictures without such an object are left out.

    Raises:
        DataError: if a file has another form.
    """
    boxes: dict[Wanted, list[Box]] = {}
    names = sorted(set(wanted))
    for path in files:
        try:
            graphs = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(graphs, dict):
                raise TypeError("it holds no pictures")
            for picture, name in names:
                if picture in graphs:
                    boxes.setdefault((picture, name), []).extend(_boxes(graphs[picture], name))
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no file of GQA's scene graphs ({error!r}); get {GET_IT} again") from error
    return {key: found for key, found in boxes.items() if found}


def _boxes(graph: Mapping[str, Any], name: str) -> Iterator[Box]:
    for _, found in sorted(graph["objects"].items()):
        if found["name"] == name:
            x, y, width, height = (float(found[key]) for key in ("x", "y", "w", "h"))
            yield x, y, x + width, y + height
