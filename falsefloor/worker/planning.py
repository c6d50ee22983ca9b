"""What planning asks of the installed plugins, how inputs become chunks, and what is asked again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from falsefloor.api import Scalar
from falsefloor.errors import UsageError
from falsefloor.options import fill
from falsefloor.plugins import Catalogue
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit


@dataclass(frozen=True)
class Planner:
    """`falsefloor.study.units.Catalogue` over the catalogue of plugins."""

    plugins: Catalogue

    def params(self, kind: str, name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return fill(self.plugins.find(kind, name).options, given, owner=name)

    def claim(self, name: str) -> str:
        return self.plugins.find("estimator", name).claim or "lower_estimate"

    def origin(self, kind: str, name: str) -> dict[str, str]:
        found = self.plugins.find(kind, name)
        return {"dist": found.dist, "version": found.version}

    def accepts(self, name: str, params: Mapping[str, Scalar]) -> bool:
        """Whether the estimator's options allow these parameters."""
        try:
            self.params("estimator", name, params)
        except UsageError:
            return False
        return True

    def is_own(self, kind: str, name: str) -> bool:
        """Whether the plugin is this package's."""
        return self.plugins.find(kind, name).plugin.own


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
