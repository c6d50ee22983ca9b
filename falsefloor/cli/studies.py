"""From a study file and flags to one study: each flag replaces what the file says under the same key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falsefloor.errors import UsageError

if TYPE_CHECKING:
    from falsefloor.study.study import Study

EXAMPLE = "falsefloor run --model digits:mlp --masker staircase:c=255 --inputs digits:0-9"


def build_study(
    file: Path | None,
    *,
    models: Sequence[str] = (),
    maskers: Sequence[str] = (),
    estimators: Sequence[str] = (),
    norms: Sequence[str] = (),
    bounds: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    **values: Any,
) -> Study:
    """The study that a command line asks for. ``values``: other keys of a study, None where not given.

    Raises `StudyError` with the file's line, or `UsageError` for a flag.
    """
    from falsefloor.study.file import read_study, study_from

    data: dict[str, Any] = {}
    if file is not None:
        data = read_study(_study_path(file)).to_json()
    lists = {"models": models, "maskers": maskers, "estimators": estimators, "norms": norms}
    for key, given in lists.items():
        if given:
            data[key] = list(given)
    data |= {key: value for key, value in values.items() if value is not None}
    if not data.get("models"):
        raise UsageError(f"what is to be judged? Give --model or a study file, for example: {EXAMPLE}")
    domain = {
        "bounds": numbers(bounds, "--bounds"),
        "mean": numbers(mean, "--mean"),
        "std": numbers(std, "--std"),
    }
    given_domain = {key: value for key, value in domain.items() if value is not None}
    if given_domain:
        data["models"] = [_table(model) | given_domain for model in data["models"]]
    return study_from(data)


def numbers(text: str | None, flag: str) -> list[float] | None:
    """ "0,1" as two numbers; fractions such as 1/255 are not read. Raises `UsageError`."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"{flag} takes numbers joined by commas, for example {flag} 0,1; not {text!r}."
        ) from None


def _table(model: str | dict[str, Any]) -> dict[str, Any]:
    return {"use": model} if isinstance(model, str) else dict(model)


def _study_path(file: Path) -> Path:
    if not file.exists() and ":" in str(file):
        raise UsageError(f"no study file {str(file)!r}. A model is given by --model {file}.")
    if not file.exists():
        near = sorted(str(path) for path in Path().glob("*.toml"))[:10]
        known = f" Here are: {', '.join(near)}." if near else ""
        raise UsageError(f"no study file {str(file)!r}.{known} Or give flags, for example: {EXAMPLE}")
    return file


__all__ = ["build_study", "numbers"]
