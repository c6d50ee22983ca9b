"""Study files: TOML to a Study and back; errors name the file, the line, the key and the nearest key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from falsefloor.api import Scalar
from falsefloor.errors import StudyError, UsageError, did_you_mean
from falsefloor.study.study import SETTINGS, EstimatorSpec, Layer, ModelSpec, StackSpec, Study
from falsefloor.study.units import canonical

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
        cure = ' Text stands in quotes: inputs = "digits:0-9".' if "Invalid value" in str(error) else ""
        raise StudyError(f"not TOML: {error}.{cure}", file=str(path), line=line) from error
    return study_from(data, file=str(path), text=text)


def study_from(data: Mapping[str, Any], *, file: str | None = None, text: str = "") -> Study:
    """The study of a mapping with a study file's keys, as `Study.to_json` writes it. Raises `StudyError`."""

    def fail(message: str, key: str, table: str = "", index: int = 0) -> StudyError:
        return StudyError(message, file=file, line=_line_of(text, key, table=table, index=index))

    given = dict(data)
    for key, value in data.items():
        if key not in KEYS:
            raise fail(f"no key {key!r} in a study. {did_you_mean(key, KEYS)}", key)
        if key in LISTS:
            if not isinstance(value, list):
                raise fail(f"{key} takes a list, as {key} = [{value!r}]; not {value!r}.", key)
            places = (partial(fail, table=key, index=at) for at in range(len(value)))
            given[key] = tuple(map(partial(_each, LISTS[key]), value, places))
    if "models" not in given:
        raise fail('a study needs models, for example models = ["digits:mlp"].', "models")
    try:
        return Study(**given)
    except UsageError as error:
        raise fail(str(error), error.key) from error


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
    table = _table(item, tuple(one.name for one in fields(ModelSpec)), what="a model")
    if "use" not in table:
        raise UsageError('a model needs use, for example use = "digits:mlp".', key="models")
    return ModelSpec(**table)


def _stack(item: Any) -> StackSpec:
    if isinstance(item, str):
        return StackSpec.parse(item)
    table = _table(item, ("label", "stack", "use"), what="a masker stack")
    label = table.get("label", "")
    if "use" in table:
        return StackSpec.parse(table["use"], label=label)
    layers = []
    for entry in table.get("stack", ()):
        layer = _table(entry, None, what="a masker")
        if "use" not in layer:
            raise UsageError('a masker needs use, for example use = "staircase".', key="stack")
        use, at = layer.pop("use"), layer.pop("at", "input")
        layers.append(Layer(use, at, _params(layer)))
    return StackSpec(tuple(layers), label).bare()


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


LISTS: Mapping[str, Callable[[Any], Any]] = {
    "models": _model,
    "maskers": _stack,
    "estimators": _estimator,
    "norms": str,
}
KEYS = (*LISTS, *(one.name for one in SETTINGS))


def _line_of(text: str, key: str, *, table: str = "", index: int = 0) -> int | None:
    """The line of a key, or of the index-th [[table]] where it is not found there. tomllib has no places."""
    lines = text.splitlines()
    headers = [n for n, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{re.escape(table)}\s*\]\]", line)]
    start, stop = 0, len(lines)
    if table and index < len(headers):
        start = headers[index]
        stop = next((n for n in range(start + 1, stop) if re.match(r"\s*\[", lines[n])), stop)
    word = rf"(?<![\w-]){re.escape(key)}(?![\w-])"
    # a key where it is set, before a line that only mentions it
    patterns = [rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", rf"[^#]*{word}"] if key else []
    if table and start not in headers:
        patterns.append(rf"\s*{re.escape(table)}\s*=")
    for pattern in patterns:
        for number in range(start, stop):
            if re.match(pattern, lines[number]):
                return number + 1
    return start + 1 if table and start in headers else None


def write_study(study: Study, *, over: str = "") -> str:
    """The study as a TOML file that `read_study` reads back as the same study.

    over: the text of a file that it is a change of. What did not change stays as it stands there, with its
    comments and its layout.
    """
    import tomlkit

    after = study.to_json()
    before = study_from(tomllib.loads(over), text=over).to_json() if over else {}
    if before == after:
        return over
    known = tomllib.loads(over)
    added = {k: v for k, v in after.items() if k not in LISTS and k not in known and v != before.get(k)}
    document = tomlkit.parse(_with_lines(over, tomlkit.dumps(added)))
    for key, value in after.items():
        if key in LISTS and key in known:
            _change(document[key], before[key], value, key)
        elif key in LISTS and value != before.get(key):
            words = [_word(item, key) for item in value]
            document[key] = words if None not in words else tomlkit.aot()
            if None in words:
                _change(document[key], [], value, key)
        elif key in known and value != before[key]:
            document[key] = value
    text = tomlkit.dumps(document).rstrip("\n") + "\n"
    if over:
        # a layout that nobody foresaw is given up before a word is
        return text if study_from(tomllib.loads(text)) == study else write_study(study)
    return re.sub(r"\n+\[\[", "\n\n[[", text)


def _with_lines(text: str, added: str) -> str:
    """A file with new keys behind its last one, before the comment of its first table."""
    lines = text.splitlines(keepends=True)
    at = next((n for n, line in enumerate(lines) if re.match(r"\s*\[\[", line)), len(lines))
    while at and re.match(r"\s*(#|$)", lines[at - 1]):
        at -= 1
    return "".join([*lines[:at], added, *lines[at:]])


def _change(made: Any, before: list[Any], after: list[Any], key: str) -> None:
    """Turn a list that holds ``before`` into one that holds ``after``; what is in both is not touched."""
    from tomlkit.items import AoT

    inline = not isinstance(made, AoT)
    old, new = [canonical(item) for item in before], [canonical(item) for item in after]
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for what, start, stop, first, last in reversed(steps):
        if what != "equal":
            for at in reversed(range(start, stop)):
                del made[at]
            for item in reversed(after[first:last]):
                made.insert(start, _item(item, key, inline=inline))


def _item(item: Any, key: str, *, inline: bool) -> Any:
    import tomlkit

    if inline and (word := _word(item, key)) is not None:
        return word
    table = tomlkit.inline_table() if inline else tomlkit.table()
    for name, value in item.items():
        if value != "" and (name, value) != ("gradient", "autograd"):
            table[name] = value
    if not inline:
        table.add(tomlkit.nl())
    return table


def _word(item: Any, key: str) -> str | None:
    """A model, a stack or an estimator as one word, where one can say it all."""
    spec = LISTS[key](item)
    word = spec.use if isinstance(spec, ModelSpec) else str(spec)
    try:
        return word if LISTS[key](word) == spec else None
    except UsageError:
        return None
