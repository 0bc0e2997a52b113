"""What the site is made of beside its Markdown: pages derived from the code, links into it, and formulas.

Derived are a page for each data set, each metric and each package, so that what lands in the code lands in the site.
Benchmarks and CONTRIBUTING.md are shown from where they lie. Formulas become MathML, which browsers draw by themselves.
"""

from __future__ import annotations

import html
import importlib
import inspect
import logging
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from latex2mathml.converter import convert  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

import maskexp  # noqa: E402
from maskexp.data.registry import DATASETS, SOURCES, arguments_of, markdown_table  # noqa: E402

log = logging.getLogger("mkdocs.hooks.site")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"^(?:[a-z]+:|#|/)")
FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\([\[(])(.*?)\\[\])](</\2>)', re.DOTALL)
SHOWN = ("benchmarks",)
"""Folders beside docs/ whose Markdown and images the site shows."""


def on_files(files: Files, config: Any) -> Files:
    """Add the derived pages."""
    for path, text in (*_data_sets(), *_metrics(), *_packages(), *_methods()):
        _put(files, config, path, text)
    _put(files, config, "contributing.md", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    for folder in SHOWN:
        for source in sorted((ROOT / folder).iterdir()):
            if source.suffix in (".md", ".png"):
                files.append(File.generated(config, f"{folder}/{source.name}", abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository that are no page into plain code, and complain about what is not there."""
    source = _home(page.file.src_uri)
    markdown += _arguments(page.file.src_uri)

    def replace(found: re.Match[str]) -> str:
        image, text, address = found.groups()
        path = address.partition("#")[0]
        if image or ELSEWHERE.match(address) or not path:
            return found[0]
        target = (ROOT / source).parent / path
        if not target.exists():
            return found[0]  # a page that is derived, or a mistake, which mkdocs finds
        inside = target.resolve().relative_to(ROOT).as_posix()
        if inside.startswith("docs/"):
            return found[0] if source.startswith("docs/") else f"[{text}]({_from(page, inside[5:])})"
        if files.get_file_from_path(inside) or inside == "CONTRIBUTING.md":
            return f"[{text}]({_from(page, inside.replace('CONTRIBUTING', 'contributing'))})"
        return text if inside in text or text.strip("`") in inside else f"{text} (`{inside}`)"

    return LINK.sub(replace, markdown)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Turn the formulas of a page into MathML, and complain about those that cannot be read."""

    def replace(found: re.Match[str]) -> str:
        opened, _, bracket, formula, closed = found.groups()
        try:
            drawn = convert(html.unescape(formula).strip(), display="block" if bracket == "[" else "inline")
        except Exception as error:  # latex2mathml's errors have no common class
            log.warning(f"{page.file.src_uri}: the formula {formula!r} cannot be read ({type(error).__name__})")
            return found[0]
        return f"{opened}{drawn}{closed}"

    return FORMULA.sub(replace, content)


def _home(uri: str) -> str:
    """Return where the source of a page lies in the repository."""
    if uri == "contributing.md":
        return "CONTRIBUTING.md"
    return uri if uri.partition("/")[0] in SHOWN else f"docs/{uri}"


def _from(page: Any, uri: str) -> str:
    """Return a page's address as seen from another one."""
    return "../" * page.file.src_uri.count("/") + uri


def _put(files: Files, config: Any, path: str, text: str) -> None:
    if files.get_file_from_path(path) is None:  # a page that is written by hand wins
        files.append(File.generated(config, path, content=text))


def _data_sets() -> Iterator[tuple[str, str]]:
    names = "\n".join(f"* [{info.title}]({name.lower()}.md): {info.summary}" for name, info in DATASETS.items())
    yield (
        "data/index.md",
        "# Data sets\n\n`maskexp data list` prints this table; each page says what a data set takes. "
        "[Your own data](../tutorials/own_data.md) needs a CSV or a folder.\n\n"
        f"{markdown_table()}\n≈ is not confirmed, – not known.\n\n{names}\n",
    )
    for name, info in DATASETS.items():
        facts = {
            "Paper": info.paper,
            "Images (train / val / test)": info.images,
            "Foreground": info.foreground,
            "Licence": info.licence,
            "Where": info.get,
            "Download": f"{info.size}; {info.automatic}",
        }
        rows = "".join(f"| {key} | {value} |\n" for key, value in facts.items())
        text = f"# {info.title}\n\n{info.summary[0].upper()}{info.summary[1:]}.\n\n| | |\n| --- | --- |\n{rows}\n"
        text += f"```bash\n{info.command}\n```\n"
        if name in SOURCES:
            text += "\n## Arguments\n\n| `--data.…` | default | |\n| --- | --- | --- |\n"
            for argument, each in arguments_of(SOURCES[name]).items():
                default = "needed" if each.required else f"`{each.default!r}`"
                text += f"| `{argument}` | {default} | {' '.join(each.help.split())} |\n"
            text += f"\n## How its layout is read\n\n::: {SOURCES[name].__module__}.{SOURCES[name].__name__}\n"
        yield f"data/{name.lower()}.md", text


def _metrics() -> Iterator[tuple[str, str]]:
    package = importlib.import_module("maskexp.metrics")
    classes = [name for name in package.__all__ if inspect.isclass(getattr(package, name))]
    listed = ""
    for name in classes:
        metric = getattr(package, name)
        first = (inspect.getdoc(metric) or name).splitlines()[0]
        listed += f"* [{name}]({name.lower()}.md): {_plain(first)}\n"
        yield f"metrics/{name.lower()}.md", f"# {name}\n\n::: {metric.__module__}\n"
    yield (
        "metrics/index.md",
        "# Metrics\n\nEach is a `torchmetrics.Metric`, usable [on its own](../tutorials/alone.md); "
        "[how to read them](../reading.md). Most have [a function](functional.md) with the formula.\n\n" + listed,
    )
    functions = "".join(_entry(module) for module in sorted(_public("maskexp.metrics.functional", True)))
    yield "metrics/functional.md", f"# Formulas as functions\n\n{functions}"


def _methods() -> Iterator[tuple[str, str]]:
    listed = ""
    for path in sorted((ROOT / "docs" / "methods").glob("*.md")):
        if path.name != "index.md":
            title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            listed += f"* [{title}]({path.name})\n"
    yield (
        "methods/index.md",
        "# Methods\n\nEach page says what is minimised, where the defaults come from, and what deviates. What a "
        "paper does not say is an argument whose help says so: *paper*, *released code*, *inferred*, *ours*. Where two "
        "sources disagree, there are two presets.\n\n"
        "Backbones are all networks of timm by their names, `small_convnet` for small images, and `resnet50_v1` for "
        "weights of the first kind of ResNet; `--model.weights` is `timm` (the hub), a file, or `null`.\n\n"
        f"{listed}",
    )


def _arguments(uri: str) -> str:
    """Return what follows on the page of a method: its arguments, from the docstring of the class of that name."""
    folder, _, name = uri.rpartition("/")
    if folder != "methods":
        return ""
    for path in sorted((ROOT / "maskexp" / "methods").glob("*.py")):
        for found in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            if found.lower() == name.removesuffix(".md").replace("_", ""):
                options = "{members: false, show_bases: true, show_root_toc_entry: false}"
                return f"\n\n## Arguments\n\n::: maskexp.methods.{path.stem}.{found}\n    options: {options}\n"
    return ""


def _packages() -> Iterator[tuple[str, str]]:
    listed = ""
    for package in sorted(pkgutil.iter_modules(maskexp.__path__), key=lambda found: found.name):
        if package.name.startswith("_") or package.name in ("cli", "metrics"):
            continue
        name = f"maskexp.{package.name}"
        modules = sorted(_public(name, package.ispkg))
        listed += f"* [{name}]({package.name}.md)\n"
        yield f"api/{package.name}.md", f"# {name}\n\n" + "".join(map(_entry, modules))
    yield (
        "api/index.md",
        f"# API\n\nOne page for each package; [metrics](../metrics/index.md) have one each.\n\n{listed}",
    )


def _entry(module: str) -> str:
    """Return what shows a module; of a package the docstring alone, for its names are shown where they are defined."""
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    return f"::: {module}\n" + ("    options: {members: false}\n" if is_package else "") + "\n"


def _public(name: str, is_package: bool) -> Iterator[str]:
    """Yield the modules of a package that have a docstring to show, without private ones and tests."""
    yield name
    if is_package:
        folder = ROOT / name.replace(".", "/")
        for found in pkgutil.iter_modules([str(folder)]):
            if not found.name.startswith("_") and name != "maskexp.data.datasets":
                yield from _public(f"{name}.{found.name}", found.ispkg)


def _plain(text: str) -> str:
    """Return a docstring's first line without roles."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
