"""Pictures without a picture library: half blocks for a terminal, PNG bytes for a page."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.text import clean, glyphs_for

Planes = Sequence[Sequence[Sequence[float]]]
"""1 or 3 planes of rows of values in [0, 1]."""

RAMP = " .:-=+*#%@"
"""Grey levels where there are neither colours nor half blocks."""


@dataclass(frozen=True)
class Picture:
    """An input as channels of rows: (C, H, W) numbers in the input's own units."""

    channels: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return len(self.channels[0]), len(self.channels[0][0])

    def planes(self, low: float, high: float) -> Planes:
        """The same in [0, 1], the domain's low end black."""
        span = (high - low) or 1.0
        return [
            [[min(1.0, max(0.0, (v - low) / span)) for v in row] for row in channel]
            for channel in self.channels
        ]


def picture(values: Sequence[float], shape: Sequence[int]) -> Picture | None:
    """Values as an image: (H, W), (C, H, W) with 1, 3 or 4 channels, or a flat square; None for others."""
    sides = tuple(int(side) for side in shape if side != 1) or (1,)
    if min(sides) < 0:
        return None
    if len(sides) == 1:
        side = math.isqrt(sides[0])
        sides = (side, side) if side * side == sides[0] and side > 1 else ()
    if len(sides) == 2:
        sides = (1, *sides)
    if len(sides) != 3 or sides[0] not in (1, 3, 4) or math.prod(sides) != len(values):
        return None
    channels, height, width = sides
    rows = [tuple(values[at : at + width]) for at in range(0, len(values), width)]
    return Picture(tuple(tuple(rows[c * height : (c + 1) * height]) for c in range(min(channels, 3))))


@dataclass(frozen=True)
class Gallery:
    """Inputs side by side, each under its number, label and the model's answer."""

    facts: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        facts, glyphs = self.facts, glyphs_for(options.encoding)
        colour = console.color_system is not None and glyphs.dot == "·"
        shape = glyphs.times.join(map(str, facts["shape"]))
        units = f" {glyphs.dot} {clean(facts['units'])}" if facts["units"] else ""
        yield Text(f"{facts['count']} inputs of {shape} {glyphs.dot} {facts['classes']} classes{units}")
        blocks = [
            self._block(n, colour=colour, width=options.max_width) for n in range(len(facts["pictures"]))
        ]
        row: list[list[Text]] = []
        used = 0
        for block in blocks:
            wide = max(line.cell_len for line in block) + 2
            if row and used + wide > options.max_width:
                yield from _side_by_side(row)
                row, used = [], 0
            row.append(block)
            used += wide
        yield from _side_by_side(row)

    def _block(self, number: int, *, colour: bool, width: int) -> list[Text]:
        facts = self.facts
        label, predicted = facts["labels"][number], facts["predicted"][number]
        wrong = predicted != label
        answer = f"label {label}" if facts["labelled"] else f"class {predicted}"
        lines = [
            Text(f"{number}  {clean(facts['names'][number])}"[: width - 2], style="dim"),
            Text(
                f"{answer}{f', model says {predicted}' if wrong else ''}",
                style="bold red" if wrong else "bold",
            ),
        ]
        if not facts["inside"][number]:
            lines.append(Text("outside the bounds", style="bold red"))
        planes = facts["pictures"][number]
        if planes is None:
            low, high = facts["ranges"][number]
            lines.append(Text(f"values {low:.4g} to {high:.4g}", style="dim"))
            return lines
        return lines + (half_blocks(planes) if colour else ascii_levels(planes))


def half_blocks(planes: Planes) -> list[Text]:
    """Two pixels a character, one above the other, in the terminal's colours."""
    pixels = _pixels(planes)
    lines = []
    for top in range(0, len(pixels), 2):
        below = pixels[top + 1] if top + 1 < len(pixels) else pixels[top]
        line = Text()
        for upper, lower in zip(pixels[top], below, strict=True):
            line.append(
                "▀", style=f"rgb({upper[0]},{upper[1]},{upper[2]}) on rgb({lower[0]},{lower[1]},{lower[2]})"
            )
        lines.append(line)
    return lines


def ascii_levels(planes: Planes) -> list[Text]:
    """One pixel as two characters of a grey ramp."""
    return [
        Text("".join(RAMP[min(9, sum(pixel) * 10 // 766)] * 2 for pixel in row)) for row in _pixels(planes)
    ]


def png(planes: Planes) -> bytes:
    """An 8-bit RGB PNG (RFC 2083): no picture library needed."""
    pixels = _pixels(planes)
    rows = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in pixels)
    size = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _part(kind, data)
        for kind, data in ((b"IHDR", size), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


def png_url(planes: Planes) -> str:
    """The picture as a data: URL, part of the page that shows it."""
    return "data:image/png;base64," + base64.b64encode(png(planes)).decode()


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pixels(planes: Planes) -> list[list[tuple[int, int, int]]]:
    three = (planes[0],) * 3 if len(planes) == 1 else tuple(planes)
    return [
        [(_byte(r), _byte(g), _byte(b)) for r, g, b in zip(*rows, strict=True)]
        for rows in zip(*three, strict=True)
    ]


def _byte(value: float) -> int:
    return 0 if value != value else max(0, min(255, round(value * 255)))


def _side_by_side(blocks: Sequence[Sequence[Text]]) -> Iterator[Text]:
    if not blocks:
        return
    widths = [max(line.cell_len for line in block) for block in blocks]
    yield Text("")
    for at in range(max(map(len, blocks))):
        line = Text()
        for block, wide in zip(blocks, widths, strict=True):
            piece = block[at] if at < len(block) else Text("")
            line.append_text(piece).append(" " * (wide - cell_len(piece.plain) + 2))
        line.rstrip()
        yield line
