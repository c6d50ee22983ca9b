"""Inputs as pictures in half blocks: the input, the adversarial input, and what changed between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from falsefloor.report.pictures import Picture, picture
from falsefloor.report.text import number

if TYPE_CHECKING:
    from falsefloor.report.detail import Detail

LARGEST = 8
"""Cells a pixel is wide at most."""
SHADES = " .:-=+*#%@"
"""Dark to light where half blocks or colours are not to be had."""
LESS, MORE = " .-=o", " .+#@"
"""What was taken away, from little to much, and what was added."""
RGB = tuple[int, int, int]
BLUE, RED = (70, 130, 220), (235, 90, 80)


@dataclass(frozen=True)
class Panel:
    """One picture: rows of colours, rows of levels from 0 to 1 where there is no colour, and a caption."""

    pixels: tuple[tuple[RGB, ...], ...]
    levels: tuple[tuple[float, ...], ...]
    caption: str
    signed: bool = False
    """levels go from -1 to 1"""


def image(picture: Picture, caption: str, *, low: float, high: float) -> Panel:
    """Grey or colour, the domain's low end black."""
    height, width = picture.size
    scaled = picture.planes(low, high)
    channels = scaled if len(scaled) == 3 else [scaled[0]] * 3
    pixels = tuple(
        tuple(
            (_byte(channels[0][y][x]), _byte(channels[1][y][x]), _byte(channels[2][y][x]))
            for x in range(width)
        )
        for y in range(height)
    )
    levels = tuple(
        tuple(sum(c[y][x] for c in scaled) / len(scaled) for x in range(width)) for y in range(height)
    )
    return Panel(pixels, levels, caption)


def difference(before: Picture, after: Picture) -> Panel:
    """What was added (red) and taken away (blue), the largest change at full strength."""
    height, width = before.size
    pairs = list(zip(before.channels, after.channels, strict=True))
    change = [
        [sum(b[y][x] - a[y][x] for a, b in pairs) / len(pairs) for x in range(width)] for y in range(height)
    ]
    most = max((abs(v) for row in change for v in row), default=0.0)
    pixels = tuple(tuple(_diverging(v / most if most else 0.0) for v in row) for row in change)
    # Without colours the sign must still be seen: letters of their own for what was taken away.
    levels = tuple(tuple(v / most if most else 0.0 for v in row) for row in change)
    return Panel(pixels, levels, f"change {most:.2g}", signed=True)


def _signed(value: float) -> str:
    letters = MORE if value > 0 else LESS
    return letters[min(4, math.ceil(abs(value) * 4))]


def _byte(value: float) -> int:
    return round(255 * value)


def _diverging(value: float) -> RGB:
    end, share = (RED if value > 0 else BLUE), abs(value)
    return (_byte(end[0] / 255 * share), _byte(end[1] / 255 * share), _byte(end[2] / 255 * share))


@dataclass(frozen=True)
class Faces:
    """Pictures and what is said below them."""

    panels: tuple[Panel, ...]
    note: str


def faces(detail: Detail) -> Faces:
    """An estimate's input, its adversarial neighbour and what changed, as far as they are pictures."""
    low, high = detail.bounds
    before, after = (picture(values, detail.shape) for values in (detail.input, detail.witness))
    panels: list[Panel] = []
    if before:
        panels.append(image(before, f"input: {detail.record['label']}", low=low, high=high))
    if before and after and before.size == after.size:
        predicted = detail.seen.get("predicted")
        answer = f": {predicted}" if predicted is not None else ""
        panels += [difference(before, after), image(after, f"adversarial{answer}", low=low, high=high)]
    if not panels:
        return Faces((), "This input is not a picture, or was not stored.")
    distance = detail.seen.get("distance")
    if not after:
        return Faces(tuple(panels), "No adversarial input is attached.")
    told = f"distance {number(float(distance))}" if isinstance(distance, float | int) else ""
    return Faces(tuple(panels), told)


class Pictures(Widget):
    """Panels side by side, each pixel as large as the room allows; captions and a note below."""

    faces = Faces((), "")

    def draw(self, faces: Faces | None) -> None:
        self.faces = faces or Faces((), "")
        self.refresh()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return self.faces.panels

    def note(self) -> str:
        """What stands below them: without colours also what the letters of a change mean."""
        letters = "; # @ added, = o taken away" if any(p.signed for p in self.panels) else ""
        return self.faces.note + letters * self.plain

    @property
    def plain(self) -> bool:
        """Whether to draw with letters: where there are no half blocks or too few colours."""
        return bool(getattr(self.app, "ascii", False)) or self.app.no_color or self.app.native_ansi_color

    def zoom(self) -> int:
        """Cells a pixel is wide; as high in half cells."""
        if not self.panels:
            return 1
        height, width = len(self.panels[0].pixels), len(self.panels[0].pixels[0])
        wide = (self.size.width - 2 * len(self.panels)) // (width * len(self.panels))
        tall = 2 * (self.size.height - 2) // height
        return max(1, min(wide, tall, LARGEST))

    def render_line(self, y: int) -> Strip:
        base, zoom = self.rich_style, self.zoom()
        end = max(((len(panel.pixels) * zoom + 1) // 2 + 1 for panel in self.panels), default=0)
        if y == end:
            return Strip([Segment(self.note(), base)]).adjust_cell_length(self.size.width, base)
        segments: list[Segment] = []
        for panel in self.panels:
            width = len(panel.pixels[0]) * zoom
            lines = (len(panel.pixels) * zoom + 1) // 2
            if y < lines:
                segments += self._row(panel, y, zoom)
            else:
                caption = panel.caption if y == lines else ""
                segments.append(Segment(caption[: width + 1].ljust(width), base))
            segments.append(Segment("  ", base))
        return Strip(segments).adjust_cell_length(self.size.width, base).crop(0, self.size.width)

    def _row(self, panel: Panel, y: int, zoom: int) -> list[Segment]:
        top, bottom = 2 * y // zoom, (2 * y + 1) // zoom
        rows = len(panel.pixels)
        if self.plain:
            line = panel.levels[min(top, rows - 1)]
            letters = "".join(
                (_signed(v) if panel.signed else SHADES[min(9, int(v * 9.999))]) * zoom for v in line
            )
            return [Segment(letters, self.rich_style)]
        segments = []
        for x, upper in enumerate(panel.pixels[min(top, rows - 1)]):
            lower = panel.pixels[bottom][x] if bottom < rows else (0, 0, 0)
            style = Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
            segments.append(Segment("▀" * zoom, style))
        return segments
