"""What planning a study asks of the installed plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from falsefloor.api import Scalar
from falsefloor.options import fill
from falsefloor.plugins import Catalogue


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

    def is_own(self, kind: str, name: str) -> bool:
        """Whether the plugin is this package's."""
        return self.plugins.find(kind, name).plugin.own
