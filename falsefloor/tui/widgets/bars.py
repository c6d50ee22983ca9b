"""The line above and the line below: what is being looked at, and which keys do what."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from falsefloor.tui.actions import Action

Piece = tuple[str, str]
"""Text and tone: "", strong, quiet, refuted, live."""


class TopLine(Widget):
    """Pieces in a row. Where there is no room the quiet ones go first, the later before the earlier; the last
    one stays, and what is refuted.
    """

    COMPONENT_CLASSES = {"top-line--strong", "top-line--quiet", "top-line--refuted", "top-line--live"}  # noqa: RUF012
    pieces: reactive[tuple[Piece, ...]] = reactive((), layout=False)

    def __init__(self, *, dot: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._dot = f" {dot} "

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        base, room = self.rich_style, self.size.width - 1
        pieces = [piece for piece in self.pieces if piece[0]]
        while len(pieces) > 2 and self._length(pieces) > room:
            del pieces[_least(pieces)]
        segments = [Segment(" ", base)]
        for n, (text, tone) in enumerate(pieces):
            if n:
                segments.append(Segment("  " if n == 1 else self._dot, self._style("quiet", base)))
            segments.append(Segment(text, self._style(tone, base)))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _length(self, pieces: Sequence[Piece]) -> int:
        return sum(cell_len(text) for text, _ in pieces) + len(self._dot) * (len(pieces) - 1) + 1

    def _style(self, tone: str, base: Style) -> Style:
        return self.get_component_rich_style(f"top-line--{tone}") if tone else base


def _least(pieces: Sequence[Piece]) -> int:
    """Which of them is missed least."""
    for tones in (("quiet",), ("", "strong", "live")):
        for n in reversed(range(1, len(pieces) - 1)):
            if pieces[n][1] in tones:
                return n
    return len(pieces) - 2


class KeyBar(Widget):
    """The keys of this screen; a click does the same as the key."""

    COMPONENT_CLASSES = {"key-bar--key"}  # noqa: RUF012
    actions: reactive[tuple[Action, ...]] = reactive((), layout=False)

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        base, key = self.rich_style, self.get_component_rich_style("key-bar--key")
        segments = [Segment(" ", base)]
        for action in self._fitting():
            segments += [Segment(action.key, key), Segment(f" {action.label}  ", base)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _fitting(self) -> list[Action]:
        """As many as fit; back, help and quit, the last ones, stay longest."""
        shown, last = list(self.actions), sum(action.bar >= 85 for action in self.actions)
        while shown and sum(map(_width, shown)) > self.size.width:
            del shown[-last - 1 if len(shown) > last else 0]
        return shown

    async def on_click(self, event: events.Click) -> None:
        x = 1
        for action in self._fitting():
            if x <= event.x < x + _width(action) - 2:
                # As if it were pressed: what has the focus answers first.
                self.app.simulate_key(action.keys.split(",")[0])
                return
            x += _width(action)


def _width(action: Action) -> int:
    return cell_len(action.key) + cell_len(action.label) + 3
