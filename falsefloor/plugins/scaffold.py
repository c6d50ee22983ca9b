"""`falsefloor plugins new`: a package that builds, passes its tests and type checks as it is written.

The templates are files beside this one, with $name for what differs; nothing is generated that an author
would not have written by hand.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from falsefloor import __version__
from falsefloor.api import API_VERSION
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.plugins.names import KINDS, OWN, canonical, discover

PREFIX = "falsefloor-"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_LONGEST = 40
_USE = {
    "estimator": "--model digits:mlp --masker none --estimator $name",
    "masker": "--model digits:mlp --masker none --masker $name",
    "gradient": "--model digits:mlp --masker none --masker staircase --estimator clever:gradient=$name",
    "model": "--model $name:3 --inputs npz:batch.npz",
    "input": "--model digits:mlp --inputs $name:8",
    "check": "--model digits:mlp --masker none",
}
"""What a study with the new plugin looks like."""
_REF = {"model": " --ref 3", "input": " --ref 8"}


def write_package(name: str, kind: str, *, into: Path, author: str = "") -> tuple[Path, list[Path]]:
    """Write the package ``falsefloor-NAME`` into a new folder of that name; returns it and its files.

    Raises `UsageError` for a name that cannot be used and for a folder that exists already.
    """
    words = _words(name, kind, author=author)
    folder = into / words["dist"]
    if folder.exists():
        raise UsageError(
            f"{folder} exists already; give the plugin another name or write it --into elsewhere."
        )
    texts = {path: template.substitute(words) for path, template in _templates(kind, words)}
    written = []
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return folder, written


def _words(name: str, kind: str, *, author: str) -> dict[str, str]:
    if kind not in KINDS:
        raise UsageError(f"There is no kind of plugin {kind!r}. {did_you_mean(kind, KINDS)}")
    bare = name.removeprefix(PREFIX)
    if not _NAME.match(bare) or len(bare) > _LONGEST:
        raise UsageError(
            f"{name!r} cannot be a plugin's name; use at most {_LONGEST} lower-case letters and digits,"
            " beginning with a letter, parts joined by single dashes, such as random-search."
        )
    taken = next((p for p in discover() if p.kind == kind and p.name == bare), None)
    if taken is not None and canonical(PREFIX + bare) != taken.dist:
        raise UsageError(
            f"{'falsefloor itself' if taken.dist == OWN else taken.dist} has the {kind} {bare!r} already, and"
            f" yours could only be reached as {PREFIX}{bare}/{bare}; choose another name."
        )
    words = {
        "name": bare,
        "kind": kind,
        "dist": PREFIX + bare,
        "package": (PREFIX + bare).replace("-", "_"),
        "cls": "".join(part.capitalize() for part in bare.split("-")),
        "author": author.strip() or f"the authors of {PREFIX}{bare}",
        "group": KINDS[kind],
        "version": __version__,
        "api": str(API_VERSION),
        "refs": _REF.get(kind, ""),
        "torch": "" if kind == "check" else ', "torch"',
    }
    if not words["author"].isprintable():
        raise UsageError("an author's name is one line of text.")
    words["quoted"] = json.dumps(words["author"], ensure_ascii=False)  # TOML's basic strings are JSON's
    words["use"] = Template(_USE[kind]).substitute(words)
    source = _source(kind)
    if keyword.iskeyword(words["cls"]) or re.search(rf"\b{words['cls']}\b", source):
        raise UsageError(
            f"the class would be called {words['cls']}, which the code uses otherwise; choose another name."
        )
    return words


def _source(kind: str) -> str:
    return _room(kind).joinpath("plugin.py.tmpl").read_text(encoding="utf-8")


def _room(name: str) -> Traversable:
    return files("falsefloor.plugins") / "templates" / name


def _templates(kind: str, words: Mapping[str, str]) -> Iterator[tuple[str, Template]]:
    package = f"src/{words['package']}"
    places = {
        ("common", "pyproject.toml"): "pyproject.toml",
        ("common", "README.md"): "README.md",
        ("common", "LICENSE"): "LICENSE",
        ("common", "gitignore"): ".gitignore",
        ("common", "ci.yml"): ".github/workflows/ci.yml",
        ("common", "init.py"): f"{package}/__init__.py",
        ("common", "py.typed"): f"{package}/py.typed",
        (kind, "plugin.py"): f"{package}/{kind}.py",
        (kind, "test.py"): f"tests/test_{words['package']}.py",
    }
    for (room, file), target in places.items():
        yield target, Template(_room(room).joinpath(f"{file}.tmpl").read_text(encoding="utf-8"))
