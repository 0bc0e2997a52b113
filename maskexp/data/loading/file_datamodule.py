"""Datamodules whose data lies in files; each is derived from the declaration of its data set."""

from __future__ import annotations

import inspect
import typing
from functools import cache, cached_property
from typing import Any, ClassVar

from docstring_parser import parse_from_object

from maskexp.data.loading.datamodule import ImageDataModule
from maskexp.data.loading.pixels import FilePixels, Pixels
from maskexp.data.manifest.layout import DataSource
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.registry import SOURCES, arguments_of

__all__ = ["FileDataModule", "datamodule_of"]

CACHE_DIR = "folder of built manifests and cached images; $MASKEXP_CACHE or the user's cache directory if not given"


class FileDataModule(ImageDataModule):
    """Data in files, declared by a :class:`~maskexp.data.manifest.layout.DataSource`; see :func:`datamodule_of`.

    The manifest is built on first use and kept in the cache; nothing is ever written into the folder of the data.

    Args:
        arguments: arguments of the source's ``find``.
        cache_dir: where manifests are kept; ``$MASKEXP_CACHE`` or the user's cache directory if not given.
        **kwargs: see :class:`ImageDataModule`.

    Raises:
        DatasetNotFoundError: if a file or folder that was asked for is missing; when the manifest is first needed.
        DataError: if the files are not as the layout demands; when the manifest is first needed.
    """

    source: ClassVar[type[DataSource]]

    def __init__(self, arguments: dict[str, Any], cache_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = {name: str(value) if _is_path(value) else value for name, value in arguments.items()}
        self.cache_dir = None if cache_dir is None else str(cache_dir)

    @cached_property
    def prepared(self) -> Prepared:
        """Manifest and folders, looked up when first needed."""
        takes_cache = "cache_dir" in inspect.signature(self.source.find).parameters
        where = {"cache_dir": self.cache_dir} if takes_cache else {}
        return self.source.find(**self.arguments, **where).prepare(self.cache_dir)

    def build(self) -> ManifestTable:
        """Return the manifest."""
        return self.prepared.table

    def pixels(self, split: str) -> Pixels:
        """Decode images and masks from their files."""
        return FilePixels(
            self.table.split(split), self.foreground, self.prepared.image_root(split), self.prepared.mask_root
        )


@cache
def datamodule_of(name: str) -> type[FileDataModule]:
    """Return the datamodule of a data set in files.

    Its signature and docstring are those of the declaration's ``find`` and of :class:`ImageDataModule` together, so
    that the command line, ``help`` and editors at run time show each argument with its type, default and help.

    Args:
        name: of the data set, e.g. ``WaterBirds``.

    Raises:
        KeyError: if there is no such data set in files.
    """
    source = SOURCES[name]
    declared = arguments_of(source)
    kinds = typing.get_type_hints(ImageDataModule.__init__)
    helps = {text.arg_name: text.description or "" for text in parse_from_object(ImageDataModule).params}
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    lines = []

    def add(argument: str, kind: Any, default: Any, text: str) -> None:
        first = argument == "root"
        how = inspect.Parameter.POSITIONAL_OR_KEYWORD if first else inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(argument, how, default=default, annotation=kind))
        lines.append(f"    {argument}: {' '.join(text.split())}")

    for argument, is_ in declared.items():
        add(argument, is_.kind, inspect.Parameter.empty if is_.required else is_.default, is_.help)
    add("cache_dir", str | None, None, CACHE_DIR)
    for argument, parameter in inspect.signature(ImageDataModule.__init__).parameters.items():
        if argument != "self":
            default = source.defaults.get(argument, parameter.default)
            add(argument, kinds[argument], default, helps[argument])
    signature = inspect.Signature(parameters)

    def __init__(self: FileDataModule, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = {argument: value for argument, value in bound.arguments.items() if argument != "self"}
        own = {argument: given.pop(argument) for argument in declared}
        FileDataModule.__init__(self, own, **given)
        self.hparams.update({**self.arguments, "cache_dir": self.cache_dir})
        self.hparams.pop("arguments", None)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters[1:]}
    prose = inspect.cleandoc(source.__doc__ or "").partition("\n\nAttributes:")[0]
    content = {
        "__init__": __init__,
        "__doc__": prose + "\n\nArgs:\n" + "\n".join(lines) + "\n",
        "__module__": "maskexp.data",
        "__qualname__": name,
        "source": source,
    }
    return type(name, (FileDataModule,), content)


def _is_path(value: Any) -> bool:
    return hasattr(value, "__fspath__")
