"""How inputs become chunks, and what is asked again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from falsefloor.api import Scalar
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit


def runs(numbers: Collection[int], *, longest: int) -> list[tuple[int, int]]:
    """These numbers as half-open ranges of consecutive ones, in order, none longer than ``longest``."""
    made: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if made and made[-1][1] == number and number - made[-1][0] < longest:
            made[-1] = (made[-1][0], number + 1)
        else:
            made.append((number, number + 1))
    return made


def asked_again(
    one: Series,
    study: Study,
    chunk: tuple[int, int],
    what: str,
    *,
    params: Mapping[str, Scalar],
    times: int = 1,
) -> Unit:
    """A follow-up that runs a series' estimator for facts beside its estimates: ``what`` names them."""
    asked: dict[str, Any] = {
        "label": one.label,
        "use": one.estimator.use,
        "params": dict(params),
        "gradient": one.estimator.gradient,
    }
    if times > 1:
        asked["times"] = times
    place = (one.model, one.stack, one.norm, study.inputs, chunk, study.seed)
    return Unit("follow-up", *place, extra={what: asked})
