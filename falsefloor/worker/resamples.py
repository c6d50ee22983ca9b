"""Which estimates are made again with more samples: those whose score may be luck (FF104, FF302)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from falsefloor.api import Scalar
from falsefloor.store.asked import Place
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit
from falsefloor.worker.planning import asked_again, runs

TIMES = 4
CODES = ("FF104", "FF302")
"""A steep piece that few samples meet; a maximum that was still growing."""
Accepts = Callable[[str, Mapping[str, Scalar]], bool]


def resamples(
    fired: Collection[Place],
    study: Study,
    series: Collection[Series],
    *,
    accepts: Accepts,
    done: Collection[Place] = (),
) -> list[Unit]:
    """One unit for each run of inputs on which one of `CODES` fired, in the table's order.

    The same estimator with its own ``samples`` times `TIMES`, and everything else as it was. An estimator
    without a whole number of that name is not asked, whoever wrote it, nor one that ``accepts`` no more; nor
    is a repaired estimate. Exactly the inputs that fired are, so that the chunk decides how they are cut into
    units and not which they are. done: what is planned already.
    """
    wanted: dict[tuple[str, str, str, str], set[int]] = {}
    for place in fired:
        if place not in done:
            wanted.setdefault(place[:4], set()).add(place[4])
    units = []
    for one in series:
        numbers = wanted.get((one.model.name, one.stack.name, one.norm, one.label), set())
        params = _more(one) if numbers else None
        if params is None or not accepts(one.estimator.use, params):
            continue
        units += [
            asked_again(one, study, chunk, "resample", params=params, times=TIMES)
            for chunk in runs(numbers, longest=study.chunk)
        ]
    return units


def _more(one: Series) -> dict[str, Scalar] | None:
    """The complete parameters with more samples; None where there is nothing to multiply, or a repair."""
    samples = one.params.get("samples")
    repaired = one.recovers is not None or one.estimator.gradient == "auto"
    if repaired or type(samples) is not int or samples < 1:
        return None
    return {**one.params, "samples": samples * TIMES}


__all__ = ["CODES", "TIMES", "resamples"]
