"""What is told and drawn of the row under the cursor: at once from the table, soon from the stored record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError
from falsefloor.report.cells import Entry
from falsefloor.report.radii import Strip, Strips, read_strips
from falsefloor.report.text import Glyphs, clean, fact, tone
from falsefloor.tui import words
from falsefloor.tui.apart import apart
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.themes import Line, styled
from falsefloor.tui.widgets.cells import fit
from falsefloor.tui.widgets.inputs import Words
from falsefloor.tui.widgets.pictures import Faces, Pictures, faces

if TYPE_CHECKING:
    from falsefloor.report.detail import Detail
    from falsefloor.report.figure import Figure


NAME, AROUND = 13, 4
"""Cells of an estimator's name before its strips, and lines above and below these."""


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
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """Where panes stand one below the other, what this one does not take is the curve's."""
        return len(self.strips.strips) + AROUND if self.strips else 0

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
        room = self.size.height - AROUND
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


REST = 0.12
"""Seconds the cursor rests before the estimate under it is read."""
MUCH = 20
"""Lines of a story from which it tells what else is known of its input."""


class Story(Horizontal):
    """Two panes: sentences, and the facts beside them where there is room."""

    _told: object = None
    """what is told, or about to be"""

    def compose(self) -> Iterator[Widget]:
        with VerticalScroll(id="story", classes="pane"):
            yield Words(id="says")
        with VerticalScroll(id="aside", classes="pane"):
            yield Words(id="more")

    @property
    def stands(self) -> bool:
        """Whether there is something to write on: not while it is put up or taken down."""
        return self.is_attached and len(self.query(Words)) == 2

    def say(self, lines: Iterable[Line], more: Iterable[Line] = ()) -> None:
        if self.stands:
            self.query_one("#says", Words).tell(lines)
            self.query_one("#more", Words).tell(more)

    def tell_nothing(self, *lines: Line) -> None:
        """The cursor is on no estimate."""
        self.forget()
        self.say(lines)

    def tell(self, snapshot: Snapshot, at: Place, entry: Entry, *, side: Side) -> None:
        """Of one estimate, or of the gravest of a cell; `side` draws it where there is room for pictures."""
        fresh = (snapshot.run.id, at, entry)
        if fresh == self._told or not self.stands:
            return
        self._told = fresh
        if not entry.counts and not entry.cell.judged:
            name = f"{clean(at.label)} on {clean(at.masker)}"
            self.say([(name, "strong"), (words.wait(entry, ended=snapshot.ended), "dim")])
            return
        glyphs: Glyphs = self.app.glyphs  # type: ignore[attr-defined]

        def show(told: tuple[list[Line], list[Line], Seen | None], drawn: bool) -> None:
            if fresh == self._told and self.stands:
                says, more, pictures = told
                self.say(says, more)
                if drawn:
                    side.show(pictures)

        def rested() -> None:
            if fresh == self._told and self.stands:
                # Asked now: when the cursor came here, the pictures may not have had their room yet.
                drawn, room = side.size.height > 0, self.query_one("#story").size
                width = room.width - 2 if room.height >= MUCH else 0
                apart(
                    self.app,
                    lambda: _read(snapshot, at, entry, drawn, width, glyphs),
                    lambda told: show(told, drawn),
                )

        self.set_timer(REST, lambda: self.call_after_refresh(rested))

    def forget(self) -> None:
        """Tell all of it again when asked next: the room for pictures came or went."""
        self._told = None


def _read(
    snapshot: Snapshot, at: Place, entry: Entry, drawn: bool, width: int, glyphs: Glyphs
) -> tuple[list[Line], list[Line], Seen | None]:
    """What is told, the facts beside it, and its pictures. width: of the sentences, where there is room for
    what else is known of the input; 0 where there is none.
    """
    from falsefloor.report.detail import read_detail, worst_record
    from falsefloor.store.reader import reading
    from falsefloor.tui.estimate import known

    pictures: Seen | None = None
    rest: list[Line] = []
    try:
        with reading(snapshot.run) as reader:
            record = worst_record(reader, entry.series.id, at.one)
            if record is not None and (drawn or width):
                detail = read_detail(reader, entry.series.id, int(record["input"]))
                if drawn:
                    pictures = look(detail, read_strips(reader, snapshot.comparison, at, entry))
                if width:
                    rest = [("", ""), *known(detail, glyphs, width=width)]
    except FalsefloorError as error:
        return [(clean(str(error)), "error")], [], None
    if record is None:
        return [(words.wait(entry, ended=True), "dim")], [], None
    which = words.which(entry, record, glyphs)
    says = [*which, (words.says(record), "strong"), *words.judged(record, glyphs), *rest]
    return says, list(_facts(entry, record, glyphs)), pictures


def _facts(entry: Entry, record: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Line]:
    series = entry.series
    if entry.of > 1:
        yield (", ".join(f"{count} {clean(word)}" for word, count in entry.counts.items()), "")
    if entry.ratio is not None:
        yield (f"{glyphs.ratio(entry.ratio)} the unmasked model's number", "strong")
    yield (f"{series.claim.replace('_', ' ')} by {clean(series.estimator)}", "heading")
    if series.params:
        yield (", ".join(f"{k}={fact(v)}" for k, v in series.params.items()), "dim")
    yield (f"gradient {series.gradient}", "dim")
    queries = record["queries"]
    total = words.magnitude(queries["forward"] + queries["backward"])
    yield (f"{total} queries, {record['seconds']:.2f} s an input", "dim")
