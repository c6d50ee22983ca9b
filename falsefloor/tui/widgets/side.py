"""The pictures of the row under the cursor: floors and ceilings, scales, the input and its neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from falsefloor.report.radii import Strip, Strips
from falsefloor.report.text import Glyphs, tone
from falsefloor.tui import words
from falsefloor.tui.themes import styled
from falsefloor.tui.widgets.cells import fit
from falsefloor.tui.widgets.pictures import Faces, Pictures, faces

if TYPE_CHECKING:
    from falsefloor.report.detail import Detail
    from falsefloor.report.figure import Figure

NAME = 13
"""Cells of an estimator's name before its strips."""


@dataclass(frozen=True)
class Seen:
    """What is drawn beside a row."""

    strips: Strips
    figure: Figure | None
    faces: Faces


def look(detail: Detail, strips: Strips) -> Seen:
    """Made in a thread, where the plotting library is imported too: nobody waits for either."""
    import falsefloor.tui.widgets.plots  # noqa: F401
    from falsefloor.report.figure import FIGURES

    figure = FIGURES["spectrum"](detail)
    # One sentence: there is no room for a second.
    return Seen(strips, replace(figure, notes=figure.notes[:1]) if figure else None, faces(detail))


class Side(Container):
    """Three panes, one below the other or side by side; nothing in them until something is shown."""

    def compose(self) -> Iterator[Widget]:
        yield Lines(id="strips")
        # Its plotting library is imported with the first figure: the first paint waits for none.
        yield Container(id="scales")
        yield Pictures(id="faces")

    def show(self, seen: Seen | None) -> None:
        if not self.query(Pictures):
            return  # it is being put up or taken down
        self.query_one(Lines).draw(seen.strips if seen else None)
        self.query_one(Pictures).draw(seen.faces if seen else None)
        if seen is not None:
            from falsefloor.tui.widgets.plots import Drawing

            slot = self.query_one("#scales")
            drawing = next(iter(slot.query(Drawing)), None)
            if drawing is None:
                drawing = Drawing("No estimator looked at the scales of this subject.", classes="plot")
                slot.mount(drawing)
            drawing.draw(seen.figure)


class Lines(Widget):
    """Floors and ceilings as marks along one side."""

    strips: Strips | None = None

    def draw(self, strips: Strips | None) -> None:
        self.strips = strips
        self.refresh()

    def render(self) -> Content:
        glyphs: Glyphs = self.app.glyphs  # type: ignore[attr-defined]
        return styled(self._pieces(glyphs), joint="")

    def _pieces(self, glyphs: Glyphs) -> Iterator[tuple[str, str]]:
        found, width = self.strips, self.size.width
        if found is None or not found.strips or width < NAME + 20:
            return
        yield (fit("Floors against ceilings, input by input\n", width, "left").rstrip(" "), "heading")
        signs = [f"{glyphs.floor} floor", f"{glyphs.cross} refuted", f"{glyphs.ceiling} ceiling"]
        if any(strip.certified for strip in found.strips):
            signs.insert(1, f"{glyphs.certified} certified")
        yield (fit(" ".join(signs), width, "left").rstrip(" ") + "\n", "dim")
        room = self.size.height - 4
        for strip in found.strips[: max(2, room)]:
            name = "  unmasked" if strip.twin else words.short_spec(strip.estimator)
            yield (fit(name, NAME - 1, "left", more=glyphs.ellipsis) + " ", "dim" if strip.twin else "")
            yield from line(strip, found, width - NAME, glyphs)
            yield ("\n", "")
        yield (" " * NAME + _ticks(found, width - NAME), "dim")


def line(strip: Strip, of: Strips, width: int, glyphs: Glyphs) -> Iterator[tuple[str, str]]:
    """A strip's letters with their tones: a track from the lowest to the highest, marks on it."""

    def place(value: float) -> int | None:
        at = of.scale.at(value)
        return None if at is None else round(at * (width - 1))

    marks: dict[int, tuple[str, str]] = {}
    for value in strip.ceilings:
        if (at := place(value)) is not None:
            marks[at] = (glyphs.ceiling, "secondary")
    for radius, verdict in sorted(strip.floors, key=lambda one: one[1] == "refuted"):
        if (at := place(radius)) is not None:
            refuted = verdict == "refuted"
            sound = glyphs.certified if strip.certified else glyphs.floor
            marks[at] = (glyphs.cross if refuted else sound, tone(verdict) or "primary")
    low, high = min(marks, default=0), max(marks, default=-1)
    for at in range(width):
        yield marks.get(at, (glyphs.line if low < at < high else " ", "dim"))


def _ticks(of: Strips, width: int) -> str:
    made = ""
    for share, text in of.scale.ticks:
        start = round(share * (width - 1)) - cell_len(text) // 2
        if start >= len(made) + bool(made) and start + cell_len(text) <= width:
            made = made.ljust(start) + text
    return made
