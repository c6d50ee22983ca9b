"""Study files: TOML to a Study and back; errors name the file, the line, the key and the nearest key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from falsefloor.api import Scalar
from falsefloor.errors import StudyError, UsageError, did_you_mean
from falsefloor.study.study import EstimatorSpec, Layer, ModelSpec, StackSpec, Study

KEYS = {
    "seed": int,
    "norms": list,
    "models": list,
    "inputs": str,
    "maskers": list,
    "estimators": list,
    "chunk": int,
    "device": str,
    "recover": str,
    "ceiling": bool,
    "trap": bool,
    "time_limit": float,
    "tag": str,
}
MODEL_KEYS = ("use", "label", "bounds", "mean", "std")
Built = TypeVar("Built")


def read_study(path: Path) -> Study:
    """The study in a TOML file. Raises `StudyError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"cannot read the study: {error.strerror or error}.", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise StudyError("a study file is UTF-8 text; this is not.", file=str(path)) from error
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r"line (\d+)", str(error))
        line = int(at[1]) if at else len(text.splitlines()) if "end of document" in str(error) else None
        raise StudyError(f"not TOML: {error}.", file=str(path), line=line) from error
    return study_from(data, file=str(path), text=text)


def study_from(data: Mapping[str, Any], *, file: str | None = None, text: str = "") -> Study:
    """The study of a mapping with a study file's keys, as `Study.to_json` writes it. Raises `StudyError`."""

    def fail(message: str, key: str, table: str = "", index: int = 0) -> StudyError:
        return StudyError(message, file=file, line=_line_of(text, key, table=table, index=index))

    given: dict[str, Any] = {}
    for key, value in data.items():
        if key not in KEYS:
            raise fail(f"no key {key!r} in a study. {did_you_mean(key, KEYS)}", key)
        wanted = KEYS[key]
        fits = isinstance(value, wanted) or (wanted is float and type(value) is int)
        if not fits or (wanted is int and isinstance(value, bool)):
            raise fail(f"{key} takes {_PLAIN[wanted]}; not {value!r}.", key)
        given[key] = value
    builders: dict[str, Callable[[Any], Any]] = {
        "models": _model,
        "maskers": _stack,
        "estimators": _estimator,
        "norms": str,
    }
    for key, build in builders.items():
        if key in given:
            given[key] = tuple(
                _each(build, item, partial(fail, table=key, index=at)) for at, item in enumerate(given[key])
            )
    if "models" not in given:
        raise fail('a study needs models, for example models = ["digits:mlp"].', "models")
    try:
        return Study(**given)
    except UsageError as error:
        raise fail(str(error), error.key) from error


_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list"}


def _each(build: Callable[[Any], Built], item: Any, fail: Callable[..., StudyError]) -> Built:
    try:
        return build(item)
    except UsageError as error:
        raise fail(str(error), error.key or (item if isinstance(item, str) else "")) from error


def _table(item: Any, known: tuple[str, ...] | None, *, what: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise UsageError(f"{what} is text or a table; not {item!r}.")
    if known is not None:
        for key in item:
            if key not in known:
                raise UsageError(f"no key {key!r} in {what}. {did_you_mean(key, known)}", key=key)
    for key in ("use", "label", "at", "gradient"):
        if key in item and not isinstance(item[key], str):
            raise UsageError(f"{key} takes text; not {item[key]!r}.", key=key)
    return dict(item)


def _model(item: Any) -> ModelSpec:
    if isinstance(item, str):
        return ModelSpec(item)
    table = _table(item, MODEL_KEYS, what="a model")
    if "use" not in table:
        raise UsageError('a model needs use, for example use = "digits:mlp".', key="models")
    for key in ("bounds", "mean", "std"):
        if key in table:
            table[key] = _numbers(table[key], key)
    return ModelSpec(**table)


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise UsageError(f"{key} takes numbers, for example {key} = [0, 1]; not {value!r}.", key=key)
    if key == "bounds" and (len(values) != 2 or not values[0] < values[1]):
        raise UsageError(f"bounds are two numbers, low then high; not {value!r}.", key=key)
    return tuple(float(v) for v in values)


def _stack(item: Any) -> StackSpec:
    if isinstance(item, str):
        return _bare(StackSpec.parse(item))
    table = _table(item, ("label", "stack", "use"), what="a masker stack")
    label = table.get("label", "")
    if "use" in table:
        return _bare(StackSpec.parse(table["use"], label=label))
    layers = []
    for entry in table.get("stack", ()):
        layer = _table(entry, None, what="a masker")
        if "use" not in layer:
            raise UsageError('a masker needs use, for example use = "staircase".', key="stack")
        use, at = layer.pop("use"), layer.pop("at", "input")
        layers.append(Layer(use, at, _params(layer)))
    return _bare(StackSpec(tuple(layers), label))


def _bare(stack: StackSpec) -> StackSpec:
    """`none` alone is the bare model: one identity, however it was written."""
    if all(layer.use == "none" and not layer.params for layer in stack.layers):
        return StackSpec((), stack.label)
    return stack


def _estimator(item: Any) -> EstimatorSpec:
    if isinstance(item, str):
        return EstimatorSpec.parse(item)
    table = _table(item, None, what="an estimator")
    if "use" not in table:
        raise UsageError('an estimator needs use, for example use = "clever".', key="estimators")
    use, label = table.pop("use"), table.pop("label", "")
    gradient = table.pop("gradient", "autograd")
    return EstimatorSpec(use, _params(table), gradient, label)


def _params(table: Mapping[str, Any]) -> dict[str, Scalar]:
    for key, value in table.items():
        if not isinstance(value, bool | int | float | str):
            raise UsageError(f"{key} takes a number, text, true or false; not {value!r}.", key=key)
    return dict(table)


def _line_of(text: str, key: str, *, table: str = "", index: int = 0) -> int | None:
    """The line of a key, or of the index-th [[table]] where it is not found there. tomllib has no places."""
    if not text or not (key or table):
        return None
    lines = text.splitlines()
    headers = [n for n, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{re.escape(table)}\s*\]\]", line)]
    start = headers[index] if table and index < len(headers) else 0
    word = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])" if key else r"(?!)")
    for number in range(start, len(lines)):
        if number > start and start in headers and re.match(r"\s*\[", lines[number]):
            break
        if word.search(lines[number].split("#")[0]):
            return number + 1
    whole = re.compile(rf"\s*{re.escape(table)}\s*=") if table else None
    found = next((n + 1 for n, line in enumerate(lines) if whole and whole.match(line)), None)
    return start + 1 if start in headers else found


def write_study(study: Study) -> str:
    """The study as a TOML file that `read_study` reads back as the same study."""
    data = study.to_json()
    tables = {key: data.pop(key) for key in ("models", "maskers", "estimators")}
    lines = [f"{key} = {_toml(value)}" for key, value in data.items()]
    for key, items in tables.items():
        for item in items:
            lines += ["", f"[[{key}]]", *(f"{_key(k)} = {_toml(v)}" for k, v in item.items() if v != "")]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return repr(value)
