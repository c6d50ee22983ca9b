"""Models from Python code (`python:FILE.py:factory`, `python:package.module:factory`).

Naming such a model runs its code, with all that code may do.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError, did_you_mean
from falsefloor.models.factory import described, with_weights
from falsefloor.models.refs import existing_file, refusal

FORM = "python:FILE.py:factory or python:package.module:factory"
DEFAULT_FACTORY = "build"

_siblings: dict[Path, set[str]] = {}
"""Modules that a folder's files imported from beside them: a second load finds them in sys.modules."""


@dataclass(frozen=True)
class PythonModel:
    """A model from Python code, which runs: `python:FILE.py:factory`, `python:package.module:factory`.

    The factory is called without arguments and returns an `nn.Module` or a `LoadedModel`; it may be a class.
    ``weights=FILE`` behind it loads a state dictionary into what it returns: a safetensors file, or what
    torch.save wrote, of which tensors alone are read.
    It may be left out where the code has one called ``build``, or a single candidate. What a bare module says
    of itself is read as in `falsefloor.models.factory`, from its attributes, then from the code's names.
    A file's folder is on the import path while it loads. Raises UsageError for what cannot be found or run,
    DomainError for what is no model.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        ref, weights = _with_weights(ref)
        made = self._made(ref)
        return made if weights is None else with_weights(made, weights)

    def _made(self, ref: str) -> LoadedModel:
        place, factory = _split(ref)
        if place.endswith(".py"):
            path = existing_file(place, kind="Python file", form=FORM).resolve()
            with _beside(path):
                code = _run_file(path, place)
                made = _make(code, factory, place)
            return described(made, vars(code), files=_files(code, path.parent))
        if _is_file(place):
            raise refusal(f"{place} is no Python file; write {FORM}.", place)
        code = _import(place)
        return described(_make(code, factory, place), vars(code), files=_files(code, None))


def made_by(ref: str) -> Any:
    """What the factory that ``ref`` names returns, whatever it is. Raises `UsageError`."""
    place, factory = _split(ref)
    if not place.endswith(".py"):
        return _called(_import(place), factory, place)
    path = existing_file(place, kind="Python file", form=FORM).resolve()
    with _beside(path):
        return _called(_run_file(path, place), factory, place)


def _with_weights(ref: str) -> tuple[str, Path | None]:
    """The reference without its options, and the file of weights that they name."""
    head, found, name = ref.partition(":weights=")
    if found:
        return head, existing_file(name, kind="file of weights", form=f"{FORM}:weights=FILE")
    option = ref.rpartition(":")[2].partition("=")
    if option[1] and option[0].isidentifier():
        raise UsageError(f"python: there is no option {option[0]!r}. {did_you_mean(option[0], ['weights'])}")
    return ref, None


def _is_file(place: str) -> bool:
    try:
        return Path(place).is_file()
    except (OSError, ValueError):  # a name too long, a null byte
        return False


def _split(ref: str) -> tuple[str, str]:
    """The place and the factory ("" if none is named)."""
    if ref.endswith(".py") or ":" not in ref:
        place, factory = ref, ""
    else:
        place, _, factory = ref.rpartition(":")
    if not place:
        raise UsageError(f"No Python code was named in {ref!r}; write {FORM}.")
    return place, factory


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Imports from the file's own folder, as for a script; remembers which modules came from there."""
    folder = str(path.parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    # Bytecode is taken for current by second and size: a file that was changed at once ran as it had been.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(folder)
        fresh = {
            name
            for name in set(sys.modules) - before
            if _source(sys.modules[name], below=path.parent) is not None
        }
        _siblings.setdefault(path.parent, set()).update(fresh)


def _run_file(path: Path, place: str) -> ModuleType:
    name = f"falsefloor_model_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python code; write {FORM}.")
    code = importlib.util.module_from_spec(specification)
    sys.modules[name] = code  # classes defined there are pickled and copied by this name
    try:
        specification.loader.exec_module(code)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(_failure(f"Running {place}", error)) from error
    return code


def _import(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (place == missing or place.startswith(f"{missing}.")):
            raise UsageError(
                f"There is no Python module {place!r}: {missing!r} is not installed here. "
                "Install it in this environment, or name a file: python:FILE.py:factory."
            ) from error
        raise UsageError(_failure(f"Importing {place}", error)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # code at import time may call sys.exit
        raise UsageError(_failure(f"Importing {place}", error)) from error


def _failure(what: str, error: BaseException) -> str:
    """One sentence on why somebody's code failed, with the line in it where that happened."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"{what} needs the package {package!r}, which is not installed here. Install it and try again."
    if isinstance(error, SyntaxError):
        return f"{what} failed: {error.msg} in {error.filename}, line {error.lineno}."
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen"):
            line = f" at {file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{what} failed: {type(error).__name__}: {str(error).strip() or 'no reason given'}{line}."


def _make(code: ModuleType, factory: str, place: str) -> nn.Module | LoadedModel:
    """The model that `_called` gives. Raises `DomainError` for anything else."""
    made = _called(code, factory, place)
    if isinstance(made, nn.Module | LoadedModel):
        return made
    raise DomainError(
        f"{factory or DEFAULT_FACTORY!r} of {place} gives {type(made).__name__}; expected a torch.nn.Module"
        " or a falsefloor.api.LoadedModel, or a function without arguments that returns one."
    )


def _called(code: ModuleType, factory: str, place: str) -> Any:
    """What the factory of that name returns, or what has that name and is no factory."""
    candidates = _candidates(code)
    if not factory:
        # whatever it is, a function of another module or a partial: a name that says so is called
        named = hasattr(code, DEFAULT_FACTORY)
        if not named and len(candidates) != 1:
            raise UsageError(
                f"{place} has no {DEFAULT_FACTORY!r} and not exactly one model or factory without required "
                f"arguments; name it as python:{place}:NAME. {did_you_mean('', candidates)}"
            )
        factory = DEFAULT_FACTORY if named else candidates[0]
    made: Any = code
    for part in factory.split("."):
        if not hasattr(made, part):
            raise UsageError(f"{place} has no {factory!r}. {did_you_mean(factory, candidates)}")
        made = getattr(made, part)
    if callable(made) and not isinstance(made, nn.Module):
        try:
            return made()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # code of a stranger may call sys.exit
            raise UsageError(_failure(f"Calling {factory}() of {place}", error)) from error
    return made


def _candidates(code: ModuleType) -> list[str]:
    """Public names of models and of factories defined there that need no arguments."""
    found = []
    for name, value in vars(code).items():
        if name.startswith("_"):
            continue
        own = getattr(value, "__module__", None) == code.__name__
        is_factory = own and (
            inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module))
        )
        if isinstance(value, nn.Module | LoadedModel) or (is_factory and _needs_nothing(value)):
            found.append(name)
    return found


def _needs_nothing(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(each.default is not each.empty or each.kind in optional for each in parameters)


def _source(module: ModuleType, *, below: Path) -> str | None:
    """The module's file if it lies below the folder and is not an installed package's."""
    file = getattr(module, "__file__", None)
    if not file or not Path(file).resolve().is_relative_to(below) or "site-packages" in Path(file).parts:
        return None
    return str(Path(file).resolve())


def _files(code: ModuleType, folder: Path | None) -> tuple[str, ...]:
    """Source files that are part of the model: its own, and what it imported from beside itself."""
    own = [str(Path(code.__file__).resolve())] if code.__file__ else []
    if folder is None:
        return tuple(own)
    beside = (_source(sys.modules[name], below=folder) for name in _siblings[folder] if name in sys.modules)
    return tuple(dict.fromkeys((*own, *sorted(file for file in beside if file is not None))))
