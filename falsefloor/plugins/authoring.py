"""For the authors of plugins: `falsefloor plugins new` and `falsefloor plugins check`.

A package is written that builds, passes its tests and type checks as it is: its templates are files beside
this one, with $name for what differs; nothing is generated that an author would not have written by hand. A
plugin is checked by the kit in a child, never in the process that asks: a check that hangs or crashes the
interpreter fails with that reason, and another child goes on behind it.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any

from falsefloor import __version__
from falsefloor.api import API_VERSION, Scalar
from falsefloor.errors import FalsefloorError, PluginError, UsageError, did_you_mean
from falsefloor.plugins.describe import TIME_LIMIT, time_limit
from falsefloor.plugins.described import Described, printable
from falsefloor.plugins.names import KINDS, OWN, canonical, discover
from falsefloor.plugins.process import Child, GoneError, SilentError

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
LIMIT = 120.0
"""Seconds one check may take; the longest of our own takes 20."""
DIGITS = "digits:mlp"


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


@dataclass(frozen=True)
class Checked:
    """What became of one conformance check, as `falsefloor.testing.Result` says it."""

    name: str
    outcome: str
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("passed", "skipped")


@dataclass(frozen=True)
class Trial:
    """An installed plugin to be checked: its parameters, and for sources a reference that exists.

    ref is what follows the scheme ("mlp" in "digits:mlp"); model is the model that inputs are for.
    """

    row: Described
    params: Mapping[str, Scalar]
    ref: str | None = None
    model: str = DIGITS

    def request(self, first: int) -> dict[str, Any]:
        """What the child is asked. Raises `UsageError` where a reference is wanted and none was given."""
        if self.row.kind in ("model", "input") and not self.ref:
            raise UsageError(
                f"{self.row.spec} is checked with a reference that exists: --ref, what follows"
                f" {self.row.name + ':'!r} in a study."
            )
        return {
            "kind": self.row.kind,
            "spec": self.row.spec,
            "params": dict(self.params),
            "ref": self.ref,
            "model": self.model,
            "first": first,
        }


def conformance(trial: Trial, *, limit: float = LIMIT) -> Iterator[Checked]:
    """Each check's result as it ends; ``limit`` is in seconds a check.

    Raises `UsageError` for wrong parameters or a missing reference, `PluginError` where the plugin cannot be
    made or its child does not even start.
    """
    names: list[str] = []
    first = 0
    while not names or first < len(names):
        child = Child("falsefloor.testing.kits")
        try:
            answers = child.answers(trial.request(first), first=max(TIME_LIMIT, time_limit()), limit=limit)
            names = _names(child, answers, trial)
            for answer in answers:
                if "start" in answer:
                    first += 1
                elif "outcome" in answer:
                    message = printable(str(answer.get("message", "")), longest=1200)
                    yield Checked(names[first - 1], str(answer["outcome"]), message)
        except SilentError:
            yield Checked(names[first - 1], "failed", f"did not end within {limit:g} s and was stopped")
        except GoneError:
            yield Checked(names[first - 1], "failed", f"{child.death()}; {_last(child.stderr)}".rstrip("; "))
        finally:
            child.end()


def _names(child: Child, answers: Iterator[Mapping[str, Any]], trial: Trial) -> list[str]:
    try:
        names = [str(name) for name in next(answers)["names"]]
    except SilentError as error:
        seconds = max(TIME_LIMIT, time_limit())
        raise PluginError(f"{trial.row.spec} was not ready to be checked within {seconds:g} s.") from error
    except (GoneError, KeyError) as error:
        raise PluginError(f"{trial.row.spec} {child.death()} before it was checked.") from error
    except FalsefloorError as error:
        reason = printable(str(error), longest=600)
        raise (UsageError if error.exit_code == UsageError.exit_code else PluginError)(reason) from error
    if not names:
        raise PluginError(f"There is nothing to check about {trial.row.spec}.")
    return names


def _last(stderr: str) -> str:
    """The innermost line of what a crash left behind, where it left anything."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip().startswith("File ")]
    return printable(lines[0], longest=200) if lines else ""
