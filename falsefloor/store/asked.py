"""What follow-up rules ask of a run: which claims stand how, and what is planned for them already."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Place: TypeAlias = tuple[str, str, str, str, int]
"""model, masker, norm, label, input"""


class Floor(NamedTuple):
    """A judged lower estimate of one input; first and stop are its unit's inputs, backward its queries."""

    model: str
    masker: str
    norm: str
    label: str
    gradient: str
    recovers: str | None
    input: int
    verdict: str
    first: int
    stop: int
    backward: int


@dataclass(frozen=True)
class Asked:
    """Questions to the writer's own connection: their answers hold until it writes again."""

    db: sqlite3.Connection

    def floors(self) -> list[Floor]:
        """Every lower estimate with a verdict, in the table's order: what follow-up rules look at."""
        rows = self.db.execute(
            "SELECT s.model, s.masker, s.norm, s.label, s.gradient, s.recovers, e.input, e.verdict,"
            " u.first, u.stop, e.backward FROM estimate e"
            " JOIN series s ON s.id = e.series JOIN unit u ON u.id = e.unit"
            " WHERE s.claim != 'upper_bound' AND e.status = 'ok' ORDER BY s.id, e.input"
        )
        return [Floor(*row) for row in rows]

    def followed(self) -> set[Place]:
        """(model, masker, norm, label, input) of every follow-up that is planned, whatever became of it."""
        rows = self.db.execute(
            "SELECT s.model, s.masker, s.norm, s.label, u.first, u.stop FROM unit u"
            " JOIN series s ON s.id = u.series WHERE u.kind = 'follow-up'"
        )
        return {(*cell, n) for *cell, first, stop in rows for n in range(first, stop)}

    def fired(self, codes: Sequence[str]) -> list[Place]:
        """(model, masker, norm, label, input) of every lower claim with a warning of these codes, in order.

        Only where the subject was observed: what a follow-up learns is stored beside the observation.
        """
        marks = ", ".join("?" * len(codes))
        rows = self.db.execute(
            "SELECT DISTINCT s.id, s.model, s.masker, s.norm, s.label, e.input FROM finding f"
            " JOIN estimate e ON e.id = f.estimate JOIN series s ON s.id = e.series"
            " JOIN observation o ON o.model = s.model AND o.masker = s.masker AND o.norm = s.norm"
            f" AND o.input = e.input WHERE f.code IN ({marks}) AND s.claim != 'upper_bound'"
            " AND e.status = 'ok' ORDER BY s.id, e.input",
            tuple(codes),
        )
        return [(model, masker, norm, label, input_) for _, model, masker, norm, label, input_ in rows]

    def resampled(self) -> set[Place]:
        """(model, masker, norm, label, input) of every resampling that is planned, whatever became of it."""
        rows = self.db.execute(
            "SELECT model, masker, norm, json_extract(spec, '$.extra.resample.label') AS label, first, stop"
            " FROM unit WHERE kind = 'follow-up' AND series IS NULL AND label IS NOT NULL"
        )
        return {(*cell, n) for *cell, first, stop in rows for n in range(first, stop)}

    def first_judged(self) -> dict[tuple[str, str, str], int]:
        """(model, masker, norm) to the first input that was observed and is classified as labelled."""
        rows = self.db.execute(
            "SELECT model, masker, norm, min(input) FROM observation"
            " WHERE json_extract(facts, '$.misclassified') = 0 GROUP BY model, masker, norm"
        )
        return {(model, masker, norm): first for model, masker, norm, first in rows}


__all__ = ["Asked", "Floor", "Place"]
