"""What a study may cost: counted from the study, timed from earlier runs of the same store."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from falsefloor.errors import FalsefloorError, UsageError
from falsefloor.models.refs import select
from falsefloor.store.reader import reading
from falsefloor.store.run_dir import list_dirs
from falsefloor.study.study import Study
from falsefloor.study.units import Series

LOOK_BACK = 10
"""Earlier runs asked for what an estimate took."""
COUNTED = re.compile(r"[0-9, -]+\Z")


@dataclass(frozen=True)
class Cost:
    """cells: subject × norm × estimator. inputs, units, estimates: None where only loading would tell.

    seconds: of work, None where nothing like it was measured; known: cells it covers; source: the run.
    """

    cells: int
    inputs: int | None
    units: int | None
    estimates: int | None
    seconds: float | None
    known: int
    source: str = ""


def expect(study: Study, series: Sequence[Series], root: Path) -> Cost:
    """Count the work of a study's series and time it by earlier runs. Reads up to `LOOK_BACK` of them."""
    cells, subjects = len(series), len({(s.model.name, s.stack.name, s.norm) for s in series})
    inputs = count_inputs(study.inputs)
    per = ceil(inputs / study.chunk) if inputs is not None else None
    units = None if per is None else (cells + subjects) * per
    seconds, known, source = _timed(series, root, inputs)
    return Cost(cells, inputs, units, None if inputs is None else cells * inputs, seconds, known, source)


def count_inputs(ref: str) -> int | None:
    """How many inputs a reference names, where it says so itself ("digits:0-9")."""
    numbers = ref.partition(":")[2]
    if not COUNTED.match(numbers):
        return None
    try:
        return len(select(numbers, count=10**9, what="inputs"))
    except UsageError:
        return None


def _timed(series: Sequence[Series], root: Path, inputs: int | None) -> tuple[float | None, int, str]:
    if inputs is None:
        return None, 0, ""
    rates, observing, source = _rates({(s.model.use, str(s.estimator)) for s in series}, root)
    took = [rate for s in series if (rate := rates.get((s.model.use, str(s.estimator)))) is not None]
    subjects = {(s.model.name, s.stack.name, s.norm): s.model.use for s in series}
    total = sum(took) + sum(observing.get(use, 0.0) for use in subjects.values())
    return (total * inputs if took else None), len(took), source


def _rates(
    wanted: Collection[tuple[str, str]], root: Path
) -> tuple[Mapping[tuple[str, str], float], Mapping[str, float], str]:
    """Seconds an input by (model, estimator), and for observing a model, from the newest runs that know."""
    rates: dict[tuple[str, str], float] = {}
    observing: dict[str, float] = {}
    source = ""
    for run in list_dirs(root)[:LOOK_BACK]:
        try:
            with reading(run) as reader:
                names = {row.id: row.label for row in reader.series()}
                sums: dict[tuple[str, str], list[float]] = {}
                for unit in reader.units("ok") + reader.units("done"):
                    if unit["kind"] == "follow-up" and unit["series"] is None:
                        continue  # a trap or more samples: neither an observation nor what was asked for
                    key = (unit["model"], names.get(unit["series"], "") if unit["kind"] != "observe" else "")
                    sums.setdefault(key, []).append(unit["seconds"] / max(1, unit["stop"] - unit["first"]))
        except FalsefloorError:
            continue
        for (model, label), found in sums.items():
            mean = sum(found) / len(found)
            if not label:
                observing.setdefault(model, mean)
            elif (model, label) in wanted and (model, label) not in rates:
                rates[model, label] = mean
                source = source or run.id
        if len(rates) == len(wanted):
            break
    return rates, observing, source
