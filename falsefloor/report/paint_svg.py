"""Figures painted as SVG by hand: a page needs no plotting library and no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from falsefloor.report.figure import Curve, Figure, Level
from falsefloor.report.markup import COLOURS
from falsefloor.report.scale import BREAK
from falsefloor.report.text import clean

INK = {
    "function": ("#1a56b0", ""),
    "gradient": ("#b00020", "6 3"),
    "fit": ("#8a5a00", ""),
    "bound": ("#1b6e3a", "8 3 2 3"),
    "interval": ("#5f6368", "2 3"),
    "red": ("#b00020", ""),
    "blue": ("#1a56b0", ""),
    "green": ("#1b6e3a", ""),
    "purple": ("#7b2d8b", ""),
}
"""Colour and dashes of a role, or of a hue where there is no role; a verdict has its colour."""
WIDE, TALL, WIDER = 330, 150, 560
"""Of the field between the axes; a comparison is wider."""
LETTER = 5.6
"""The width of an average letter at font size 10."""
LINE = 15
ROW = 26

_MARKS = {
    "circle": "M{w},{y}a{r},{r} 0 1,0 {d},0a{r},{r} 0 1,0 -{d},0",
    "square": "M{w},{n}h{d}v{d}h-{d}z",
    "triangle": "M{x},{n}L{e},{s}H{w}z",
    "diamond": "M{x},{n}L{e},{y}L{x},{s}L{w},{y}z",
    "cross": "M{w},{n}L{e},{s}M{e},{n}L{w},{s}",
    "plus": "M{x},{n}V{s}M{w},{y}H{e}",
}


def ink(drawn: Curve | Level) -> tuple[str, str]:
    """Colour and dashes; a level is never as solid as a curve."""
    colour, dashes = INK.get(drawn.role) or (COLOURS.get(drawn.role, "#444"), "")
    return colour, dashes or ("6 3" if isinstance(drawn, Level) else "")


def svg(figure: Figure) -> str:
    """One `<svg>` element; every word in it is escaped."""
    tall = ROW * figure.rows or TALL
    left = 16 + LETTER * max((len(word) for _, word in figure.y.ticks), default=0)
    right, top = 14, 10 if figure.rows else 22
    across = WIDER if figure.rows else WIDE
    legend, below = _legend(figure, left + across)
    bottom = top + tall + 34
    wide, high = left + across + right, bottom + below
    field = _Field(figure, left, top, across, tall)
    parts = [
        f'<svg viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}" role="img"',
        f' aria-label="{_text(figure.title)}" font-size="10" font-family="sans-serif" fill="#333">',
        *field.sides(),
        *(mark for curve in figure.curves for mark in field.curve(curve)),
        *(mark for level in figure.levels for mark in field.level(level)),
        f'<g transform="translate(0 {bottom})">{legend}</g></svg>',
    ]
    return "".join(parts)


class _Field:
    """The rectangle between the axes: shares of its sides to places on the picture."""

    def __init__(self, figure: Figure, left: float, top: float, wide: float, tall: float) -> None:
        self.figure, self.left, self.top, self.wide, self.tall = figure, left, top, wide, tall
        self.right, self.bottom = left + wide, top + tall

    def at(self, x: float | None, y: float | None) -> tuple[float, float] | None:
        if x is None or y is None:
            return None
        return self.left + x * self.wide, self.bottom - y * self.tall

    def sides(self) -> Iterator[str]:
        """Axes with ticks; where a side is broken, its zeros lie in a shaded row beyond the break."""
        x, y = self.figure.x, self.figure.y
        if y.zeros:
            deep = BREAK * self.tall
            yield _shade(self.left, self.bottom - deep, self.wide, deep)
        if x.zeros:
            yield _shade(self.left, self.top, BREAK * self.wide, self.tall)
        path = f"M{self.left:.1f},{self.top}V{self.bottom}H{self.right:.1f}"
        yield f'<path d="{path}" fill="none" stroke="#888"/>'
        if y.zeros:
            yield _break(self.left, self.bottom - BREAK * self.tall, upright=True)
        if x.zeros:
            yield _break(self.left + BREAK * self.wide, self.bottom, upright=False)
        for share, word in x.ticks:
            across = self.left + share * self.wide
            yield f'<path d="M{across:.1f},{self.bottom}v4" stroke="#888"/>'
            yield f'<text x="{across:.1f}" y="{self.bottom + 14}" text-anchor="middle">{_text(word)}</text>'
        for share, word in y.ticks:
            up = self.bottom - share * self.tall
            yield f'<path d="M{self.left:.1f},{up:.1f}h-4" stroke="#888"/>'
            yield f'<text x="{self.left - 7:.1f}" y="{up + 3.5:.1f}" text-anchor="end">{_text(word)}</text>'
        middle = self.left + self.wide / 2
        yield f'<text x="{middle:.1f}" y="{self.bottom + 28}" text-anchor="middle">{_text(x.name)}</text>'
        if y.name:
            yield f'<text x="{self.left - 7:.1f}" y="{self.top - 9}">{_text(y.name)}</text>'

    def curve(self, curve: Curve) -> Iterator[str]:
        both = zip(map(self.figure.x.at, curve.x), map(self.figure.y.at, curve.y), strict=True)
        known = [self.at(x, y) for x, y in both]
        places = [place for place in known if place is not None]
        for there, run in groupby(known, key=lambda place: place is not None) if curve.line else ():
            path = " ".join(f"{place[0]:.1f},{place[1]:.1f}" for place in run if place is not None)
            if there:
                yield f'<polyline points="{path}" fill="none" {_stroke(curve)}/>'
        if curve.marker and places:
            path = "".join(_mark(curve.marker, x, y) for x, y in places)
            yield f'<path d="{path}" {_filled(curve)}/>'

    def level(self, level: Level) -> Iterator[str]:
        at = (self.figure.x if level.upright else self.figure.y).at(level.value)
        ends = [self.at(at, 0.0), self.at(at, 1.0)] if level.upright else [self.at(0.0, at), self.at(1.0, at)]
        yield from (_straight(level, start, end) for start, end in [ends] if start and end)


def _straight(drawn: Curve | Level, start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'<path d="M{start[0]:.1f},{start[1]:.1f}L{end[0]:.1f},{end[1]:.1f}" {_stroke(drawn)}/>'


def _stroke(drawn: Curve | Level) -> str:
    colour, dashes = ink(drawn)
    return f'stroke="{colour}" stroke-width="1.5"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _shade(x: float, y: float, wide: float, tall: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="#f0f0f0"/>'


def _legend(figure: Figure, wide: float) -> tuple[str, float]:
    """What each line and mark is, in rows below the field, and how tall that is."""
    parts, x, y = [], 8.0, 6.0
    for one in figure.legend:
        room = 28 + LETTER * len(one.name) + 14
        if x > 8 and x + room > wide:
            x, y = 8.0, y + LINE
        if isinstance(one, Level) or one.line:
            parts.append(_straight(one, (x, y), (x + 22, y)))
        if isinstance(one, Curve) and one.marker:
            parts.append(f'<path d="{_mark(one.marker, x + 11, y)}" {_filled(one)}/>')
        parts.append(f'<text x="{x + 28:.1f}" y="{y + 3.5:.1f}">{_text(one.name)}</text>')
        x += room
    return "".join(parts), y + LINE if parts else 0.0


def _mark(marker: str, x: float, y: float, r: float = 3.0) -> str:
    ends = {"x": x, "y": y, "n": y - r, "s": y + r, "e": x + r, "w": x - r, "d": 2 * r, "r": r}
    return _MARKS.get(marker, _MARKS["circle"]).format(**{key: f"{value:.1f}" for key, value in ends.items()})


def _filled(curve: Curve) -> str:
    colour = ink(curve)[0]
    if curve.marker in ("cross", "plus"):
        return f'fill="none" stroke="{colour}" stroke-width="1.5"'
    return f'fill="{colour}" fill-opacity="0.75"'


def _break(x: float, y: float, *, upright: bool) -> str:
    """Two short slanted strokes across an axis."""
    if upright:
        path = f"M{x - 5:.1f},{y + 4:.1f}l10,-4M{x - 5:.1f},{y + 8:.1f}l10,-4"
    else:
        path = f"M{x - 4:.1f},{y + 5:.1f}l4,-10M{x:.1f},{y + 5:.1f}l4,-10"
    return f'<path d="{path}" stroke="#888"/>'


def _text(words: str) -> str:
    return escape(clean(words))
