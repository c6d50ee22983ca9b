"""Everything falsefloor raises on purpose, as one tree.

    FalsefloorError            exit code
    ├── UsageError             2   a name, a value, a file or a study that cannot be used
    │   ├── StudyError         2   the same, with file, line and key
    │   └── DomainError        2   inputs or models that do not fit each other
    ├── PluginError            4   a plugin that cannot be loaded or breaks the contract
    ├── StoreError             2   a run directory that is missing, locked, foreign or damaged
    └── WorkerError            5   a worker that went away

Each message says what was asked, what exists, and what to do next. `did_you_mean` finds the nearest name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class FalsefloorError(Exception):
    """Base of all errors raised on purpose. ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(FalsefloorError):
    """What was asked for does not exist or is out of range; ``key`` names the setting at fault, if one is."""

    exit_code = 2

    def __init__(self, message: str, *, key: str = "") -> None:
        self.key = key
        super().__init__(message)


class StudyError(UsageError):
    """A study file that cannot be used: names the file, the line and the key."""

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        self.file, self.line = file, line
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)


class DomainError(UsageError):
    """Inputs, labels or model outputs that do not fit each other."""


class PluginError(FalsefloorError):
    """A plugin that cannot be loaded or breaks the contract."""

    exit_code = 4


class StoreError(FalsefloorError):
    """A run that cannot be found, read or written."""

    exit_code = 2


class WorkerError(FalsefloorError):
    """The process that was computing went away."""

    exit_code = 5


ELSEWHERE: Mapping[str, str] = {
    # what other tools, papers and torch call it
    **dict.fromkeys(("pgd", "apgd", "fgsm", "fab", "cw", "deepfool", "autoattack"), "attack"),
    "empirical-robustness": "attack",
    **dict.fromkeys(("fd", "numerical", "central-difference"), "finite-difference"),
    **dict.fromkeys(("clever-u", "clever-t", "lipschitz"), "clever"),
    **dict.fromkeys(("mip", "mipverify", "exact"), "milp"),
    **dict.fromkeys(("quantise", "quantize", "round", "ceil", "floor", "bit-depth"), "staircase"),
    **dict.fromkeys(("cast", "half", "float16", "fp16", "uint8", "precision"), "dtype"),
    **dict.fromkeys(("clean", "identity", "bare"), "none"),
    **dict.fromkeys(("inf", "infinity", "max", "chebyshev"), "linf"),
    **dict.fromkeys(("2", "2.0", "euclidean"), "l2"),
    **dict.fromkeys(("1", "1.0", "manhattan"), "l1"),
    **dict.fromkeys(("eps", "epsilon", "r", "max-radius"), "radius"),
    **dict.fromkeys(("levels", "bins"), "c"),
    **dict.fromkeys(("n-samples", "num-samples", "batch-size", "pool-factor"), "samples"),
    **dict.fromkeys(("nb-batches", "n-batches", "num-batches"), "batches"),
    **dict.fromkeys(("max-iter", "iterations", "n-iter", "num-steps"), "steps"),
    **dict.fromkeys(("clip-values", "clip", "range"), "bounds"),
    "gpu": "cuda",
    "bpda": "straight-through",
    "report": "export",
}


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known word and lists what exists; for the end of an error message.

    Letters' case, and _ for -, make no difference; a word that other tools use for one of ours is known.
    Near is what begins alike or shares two thirds of its letters: at a half "everything" was near "python".
    """
    words = sorted(known)
    if not words:
        return "There is none."
    plain = {_plain(word): word for word in words}
    meant = ELSEWHERE.get(_plain(asked), "")
    begins = [word for word in plain if len(_plain(asked)) > 2 and word.startswith(_plain(asked))]
    near = [] if meant else difflib.get_close_matches(_plain(asked), plain, n=1, cutoff=2 / 3) or begins[:1]
    found = meant if meant in words else plain[near[0]] if near else ""
    listed = ", ".join(words[:20]) + (f" and {len(words) - 20} more" if len(words) > 20 else "")
    return (f"Did you mean {found!r}? " if found else "") + f"There are: {listed}."


def meant(word: str) -> str:
    """What we call what other tools call so; else the word itself, with - for _ and in small letters."""
    return ELSEWHERE.get(_plain(word), _plain(word))


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-").replace("l-", "l")
