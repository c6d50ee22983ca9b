"""What a field of New run can take, level by level: models, files, folders, the functions of a file, inputs.

Nothing is imported: a Python file is read as text. A folder that answers slowly is waited for in a thread.
"""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean, roughly
from falsefloor.store.reader import reading
from falsefloor.store.run_dir import list_dirs
from falsefloor.tui import words

MOST = 2000
"""Entries of a folder that are offered."""
LONGEST = 2**20
"""Bytes of a Python file that are read."""
RECENT = 40
"""Runs whose studies are offered."""
LOOK_FOR = 2.0
"""Seconds after which an endless folder is shown as far as it was read."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


@dataclass(frozen=True)
class Choice:
    """A line of a picker. value: what it fills in; more: what it leads to, where it leads on."""

    label: str
    help: str = ""
    value: str = ""
    more: Callable[[], Sequence[Choice]] | None = None


def models() -> list[Choice]:
    built_in = {
        "digits:mlp": "two layers, ReLU: the note's model",
        "digits:cnn": "convolutions",
        "digits:linear": "its distances are known exactly",
        "digits:mlp-tanh": "smooth",
        "digits:mlp-gelu": "smooth",
    }
    here = Path.cwd()
    return [
        Choice("python:", "a function or class of a Python file", more=lambda: files(here, "python")),
        Choice("export:", "a file of torch.export", more=lambda: files(here, "export")),
        *(Choice(name, what, name) for name, what in built_in.items()),
    ]


def inputs() -> list[Choice]:
    here = Path.cwd()
    return [
        Choice("npz:", "arrays with labels, saved by numpy", more=lambda: files(here, "npz")),
        Choice("images:", "a folder of pictures", more=lambda: files(here, "images")),
        Choice("digits:0-9", "ten embedded pictures of digits", "digits:0-9"),
        Choice("digits:0-99", "a hundred of them", "digits:0-99"),
        Choice("the model's own", "what the model brings along", " "),
    ]


SUFFIXES = {
    "python": (".py",),
    "export": (".pt2",),
    "npz": (".npz", ".npy"),
    "study": (".toml",),
    "images": (),
}


def files(folder: Path, kind: str) -> list[Choice]:
    """The folders and fitting files of a folder. Raises `OSError`."""
    found: list[tuple[bool, str]] = []
    until, pictures = time.monotonic() + LOOK_FOR, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            name, is_folder = entry.name, _is_folder(entry)
            pictures += name.lower().endswith(PICTURES)
            if not name.startswith(".") and (is_folder or name.lower().endswith(SUFFIXES[kind] or ("\0",))):
                found.append((not is_folder, name))
            if len(found) >= MOST or time.monotonic() > until:
                break
    made = [Choice("../", "the folder above", more=lambda: files(folder.parent, kind))]
    if kind == "images":
        about = (
            f"this folder: {words.many(pictures, 'picture')}" if pictures else "this folder, with its folders"
        )
        made.insert(0, Choice("./", f"this folder: {about}", f"images:{_shown(folder)}"))
    return made + [_file(folder / name, kind, is_file=is_file) for is_file, name in sorted(found)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file(path: Path, kind: str, *, is_file: bool) -> Choice:
    if not is_file:
        return Choice(f"{path.name}/", "", more=lambda: files(path, kind))
    if kind == "python":
        return Choice(path.name, "", more=lambda: factories(path))
    return Choice(path.name, "", f"{kind}:{_shown(path)}")


def _shown(path: Path) -> str:
    """Relative where that is below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def factories(path: Path) -> list[Choice]:
    """Functions and classes of a Python file that can be called with nothing, from its text alone."""
    try:
        text = path.read_bytes()[:LONGEST].decode("utf-8", errors="replace")
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Choice("(no Python)", f"it cannot be read: {clean(str(error))}")]
    made = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            needs = _needs(node)
            doc = (ast.get_docstring(node) or "").partition("\n")[0]
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            said = f"{kind}, needs {', '.join(needs)}" if needs else f"{kind}. {doc}".rstrip(". ")
            made.append(Choice(node.name, clean(said), "" if needs else f"python:{_shown(path)}:{node.name}"))
        elif isinstance(node, ast.Assign):
            names = [one.id for one in node.targets if isinstance(one, ast.Name)]
            made += [
                Choice(name, "a value", f"python:{_shown(path)}:{name}")
                for name in names
                if name.islower() and not name.startswith("_")
            ]
    return made or [Choice("(nothing)", "no function and no class stands in this file")]


def _needs(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """Names of the arguments without which it cannot be called."""
    start: ast.FunctionDef | None = node if isinstance(node, ast.FunctionDef) else None
    if isinstance(node, ast.ClassDef):
        start = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if start is None:
        return []
    given = [*start.args.posonlyargs, *start.args.args]
    given = given[1:] if isinstance(node, ast.ClassDef) else given
    needed = given[: len(given) - len(start.args.defaults)]
    keywords = zip(start.args.kwonlyargs, start.args.kw_defaults, strict=True)
    return [one.arg for one in (*needed, *(arg for arg, default in keywords if default is None))]


def recent(root: Path) -> list[Choice]:
    """Studies of earlier runs, newest first; the value is the run's path."""
    return list(_recent(root))


def _recent(root: Path) -> Iterator[Choice]:
    for run in list_dirs(root)[:RECENT]:
        try:
            with reading(run) as reader:
                info = reader.info()
        except FalsefloorError:
            continue
        given = info.study.get("models") or ()
        models = ", ".join(str(one.get("use", "") if isinstance(one, dict) else one) for one in given)
        age = roughly(max(0.0, time.time() - info.started))
        yield Choice(
            f"{run.id}  {clean(info.tag) or '(no tag)'}", clean(f"{age} ago: {models}"), str(run.path)
        )


def modules(model: str, source: str) -> list[Choice]:
    """Where a masker can stand. The model is loaded in a process of its own, as a run would."""
    from falsefloor.plugins.process import ask

    fixed = {
        "input": "before the model",
        "logits": "after it",
        "model": "around the whole of it",
    }
    made = [Choice(name, what, name) for name, what in fixed.items()]
    request = {"model": model, "inputs": source, "limit": 0, "bounds": None}
    (found,) = ask("falsefloor.engine.glimpse", request, doing=f"loading {model}", heard=False)
    return made + [Choice(clean(name), clean(kind), name) for name, kind in found.get("modules", ())]
