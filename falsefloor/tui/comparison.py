"""From a snapshot to the rows of the comparison: pure, so that what it says can be tested without a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len

from falsefloor.checks.verdicts import LOWER, VERDICTS, rank
from falsefloor.report.text import Glyphs, clean, verdict_word
from falsefloor.store.reader import Cell as Summary
from falsefloor.store.reader import SeriesRow
from falsefloor.tui import words
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.widgets.cells import WIDEST, Cell, Column, Row, fit


@dataclass(frozen=True)
class View:
    """pivot: estimators as columns, or one row an estimate. per_input: single inputs, or all in one row."""

    pivot: Literal["columns", "rows"] = "columns"
    per_input: bool = False
    wide: bool = True

    def turned(self) -> View:
        return replace(self, pivot="rows" if self.pivot == "columns" else "columns")


@dataclass(frozen=True)
class Subject:
    """What a row stands for; ``label`` only where a row is one estimate, ``input`` only for single inputs."""

    model: str
    masker: str
    norm: str
    label: str | None = None
    input: int | None = None


@dataclass(frozen=True)
class Entry:
    """What one cell shows: a summary over inputs, or a single input."""

    series: SeriesRow
    radius: float | None
    capped: bool
    verdict: str | None
    count: int
    total: int
    reason: str
    state: str
    """What to write where there is no radius: queued, failed, skipped, cancelled, or "run 41%"."""


def entry(snapshot: Snapshot, row: SeriesRow, number: int | None, glyphs: Glyphs) -> Entry:
    if number is not None:
        brief = snapshot.briefs.get((row.id, number))
        if brief is None:
            return Entry(row, None, False, None, 0, 1, "", glyphs.none)
        return Entry(row, brief.radius, brief.capped, brief.verdict, 1, 1, brief.reason, brief.status)
    cell = snapshot.cells.get(row.id)
    if cell is None:
        return Entry(row, None, False, None, 0, 0, "", glyphs.none)
    judged = sum(cell.verdicts.get(v, 0) for v in VERDICTS)
    return Entry(
        row,
        cell.radius,
        cell.capped,
        cell.worst,
        cell.worst_count,
        judged,
        cell.reason,
        _state(cell, snapshot, glyphs),
    )


def _state(cell: Summary, snapshot: Snapshot, glyphs: Glyphs) -> str:
    if cell.live is not None and not snapshot.ended:
        return f"run {100 * cell.live[0]:.0f}%"
    return next((word for word in ("failed", "skipped", "cancelled") if cell.verdicts.get(word)), glyphs.none)


def show_radius(snapshot: Snapshot, shown: Entry, glyphs: Glyphs, *, single: bool) -> Cell:
    """The cell of one estimate: its radius, or where it stands."""
    claim = shown.series.claim
    if shown.radius is not None:
        text = glyphs.radius(shown.radius, claim=claim, capped=shown.capped)
        mark = glyphs.mark(shown.verdict) or " "
        return Cell(text + mark, (shown.verdict or "") if mark.strip() else "", shown.radius)
    cell = snapshot.cells.get(shown.series.id)
    if not single and cell is not None and cell.live is not None and not snapshot.ended:
        share, moving = cell.live
        if moving is not None and math.isfinite(moving):
            return Cell(f"{glyphs.radius(moving, claim=claim)} {100 * share:.0f}%", "live", moving)
        return Cell(shown.state, "live")
    return Cell(shown.state, "error" if shown.state == "failed" else "dim")


def factor(snapshot: Snapshot, shown: Entry, number: int | None, glyphs: Glyphs) -> float | None:
    """The radius as a multiple of the unmasked subject's, same estimator and norm; None where it has none."""
    base = snapshot.unmasked(shown.series)
    if base is None or shown.series.claim not in LOWER or shown.radius is None:
        return None
    bare = entry(snapshot, base, number, glyphs).radius
    if bare is None or not bare > 0 or not (math.isfinite(bare) and math.isfinite(shown.radius)):
        return None
    return shown.radius / bare


def compare(snapshot: Snapshot, view: View, glyphs: Glyphs) -> tuple[list[Column], list[Row]]:
    """Columns and rows of the table."""
    rows = list(_rows(snapshot, view, glyphs))
    short = _titles(snapshot)
    names = [c for c in ("model", "masker", "norm") if c == "masker" or _varied(snapshot, c)]
    widest = WIDEST if view.wide else 20
    columns = [Column(name, name, frozen=name != "norm", widest=widest) for name in names]
    verdict = Column("verdict", "verdict", frozen=not view.wide, narrowest=7)
    if view.per_input:
        columns.append(Column("input", "input", "right"))
    if not view.wide:
        # The verdict must be seen first where not everything can be.
        columns.append(verdict)
    ratio = Column("ratio", f"{glyphs.times}none", "right")
    masked = any(snapshot.unmasked(s) is not None for s in snapshot.series)
    if view.pivot == "rows":
        columns += [Column("estimator", "estimator"), Column("radius", "radius", "right", selectable=True)]
    else:
        room = 14 if view.wide else 10
        titles = {label: s if cell_len(s) <= room else fit(s, room, "left") for label, s in short.items()}
        made = {n: Column(f"e:{n}", titles[n], "right", selectable=True, narrowest=8) for n in short}
        repaired = {row.label for row in snapshot.series if row.recovers is not None}
        columns += [column for label, column in made.items() if label not in repaired]
        # Repaired numbers explain the raw ones and come after what is said about those.
        columns += [ratio] if masked and repaired else []
        columns += [column for label, column in made.items() if label in repaired]
    if masked and ratio not in columns:
        columns.append(ratio)
    columns += [verdict, Column("why", "why")] if view.wide else [Column("why", "why")]
    for column in columns:
        # Room for marks only where there is one, or numbers would not line up.
        found = [cells[column.key] for _, cells in rows if column.key in cells and column.selectable]
        if all(cell.text.endswith(" ") or cell.value is None for cell in found):
            for _, cells in rows:
                if column.selectable and column.key in cells:
                    cells[column.key] = cells[column.key]._replace(text=cells[column.key].text.rstrip())
    return columns, [
        Row(key, tuple(cells[column.key] if column.key in cells else Cell("") for column in columns))
        for key, cells in rows
    ]


def _varied(snapshot: Snapshot, name: str) -> bool:
    return len({getattr(row, name) for row in snapshot.series}) > 1


def _titles(snapshot: Snapshot) -> dict[str, str]:
    """Label to heading; a repaired estimate is named after the raw one."""
    raw = {row.label: row.recovers for row in snapshot.series}
    short = words.short_labels([label for label, recovers in raw.items() if recovers is None])
    return short | {
        label: f"rec.{short.get(recovers, clean(recovers))}"
        for label, recovers in raw.items()
        if recovers is not None
    }


def _rows(snapshot: Snapshot, view: View, glyphs: Glyphs) -> Iterator[tuple[Subject, dict[str, Cell]]]:
    groups: dict[Subject, list[SeriesRow]] = {}
    for row in snapshot.series:
        label = row.label if view.pivot == "rows" else None
        groups.setdefault(Subject(row.model, row.masker, row.norm, label), []).append(row)
    inputs: dict[str, list[int]] = {}
    if view.per_input:
        models = {row.id: row.model for row in snapshot.series}
        for model in dict.fromkeys(models.values()):
            seen = {number for series, number in snapshot.briefs if models.get(series) == model}
            inputs[model] = sorted(seen)
    maskers = words.short_labels(list(dict.fromkeys(row.masker for row in snapshot.series)))
    for subject, members in groups.items():
        for number in inputs.get(subject.model, ()) if view.per_input else (None,):
            cells = {
                "model": Cell(clean(subject.model), "", subject.model),
                "masker": Cell(
                    clean(subject.masker) if view.wide else maskers[subject.masker], "", subject.masker
                ),
                "norm": Cell(subject.norm, "dim", subject.norm),
            }
            if number is not None:
                cells["input"] = Cell(str(number), "dim", number)
            cells |= _numbers(snapshot, members, number, view, glyphs)
            yield replace(subject, input=number), cells


def _numbers(
    snapshot: Snapshot, members: list[SeriesRow], number: int | None, view: View, glyphs: Glyphs
) -> dict[str, Cell]:
    entries = [entry(snapshot, row, number, glyphs) for row in members]
    cells: dict[str, Cell] = {}
    for shown in entries:
        key = "radius" if view.pivot == "rows" else f"e:{shown.series.label}"
        cells[key] = show_radius(snapshot, shown, glyphs, single=number is not None)
    if view.pivot == "rows":
        cells["estimator"] = Cell(clean(members[0].label), "", members[0].label)
    factors = [f for shown in entries if (f := factor(snapshot, shown, number, glyphs)) is not None]
    if factors:
        # The number that moved most against the unmasked model, up or down.
        far = max(factors, key=lambda f: abs(math.log(f)) if f > 0 else math.inf)
        tone = "strong" if far <= 0 or abs(math.log(far)) > math.log(1.5) else ""
        cells["ratio"] = Cell(glyphs.ratio(far), tone, far)
    worst = min(
        (shown for shown in entries if shown.verdict in VERDICTS),
        key=lambda shown: rank(shown.verdict),
        default=None,
    )
    if worst is not None and worst.verdict:
        share = "" if worst.total <= 1 else f"{worst.count}/{worst.total} "
        place = float(rank(worst.verdict))
        cells["verdict"] = Cell(share + verdict_word(worst.verdict), worst.verdict, place)
        cells["why"] = Cell(clean(worst.reason), "dim" if worst.verdict == "held" else "", worst.reason)
    else:
        failed = next((shown for shown in entries if shown.state == "failed"), None)
        reason = failed.reason if failed else next((shown.reason for shown in entries if shown.reason), "")
        cells["why"] = Cell(clean(reason), "error" if failed else "dim", reason or None)
    return cells
