"""Small drawings of stored curves as SVG, written by hand: a page needs no plotting library and no script."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from html import escape

from falsefloor.report.pictures import Planes, png_url
from falsefloor.store.records import Array

WIDTH, HEIGHT, MARGIN = 300, 150, 34
_FORMATS = {"float32": "f", "float64": "d", "int64": "q", "int32": "i", "uint8": "B", "float16": "e"}


def values(array: Array | None) -> list[float]:
    """The numbers of a stored tensor, flat; nothing where there is none or its type is unknown."""
    if array is None or array.dtype not in _FORMATS:
        return []
    form = _FORMATS[array.dtype]
    count = len(array.data) // struct.calcsize(form)
    return list(struct.unpack(f"<{count}{form}", array.data[: count * struct.calcsize(form)]))


def planes(array: Array | None, *, low: float, high: float) -> Planes | None:
    """A stored input as a picture in [0, 1], or None where it is none: (h, w), (1, h, w) or (3, h, w)."""
    if array is None:
        return None
    shape = array.shape if len(array.shape) != 2 else (1, *array.shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or max(shape) > 512:
        return None
    flat = [(v - low) / max(high - low, 1e-30) for v in values(array)]
    if len(flat) != math.prod(shape):
        return None
    _, tall, wide = shape
    rows = [flat[at : at + wide] for at in range(0, len(flat), wide)]
    return [rows[at : at + tall] for at in range(0, len(rows), tall)]


def picture(planes_: Planes | None, caption: str) -> str:
    """An input at a size that can be seen, its pixels kept sharp."""
    if planes_ is None:
        return ""
    return (
        f'<figure><img alt="{escape(caption)}" src="{png_url(planes_)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def line_chart(
    title: str, x: Sequence[float], y: Sequence[float], *, level: float | None = None, level_name: str = ""
) -> str:
    """y over x, both logarithmic where they are positive; ``level`` is a dashed line across.

    Points that are not finite, or zero on a logarithmic axis, are drawn at the bottom, open.
    """
    pairs = [(a, b) for a, b in zip(x, y, strict=False) if math.isfinite(a)]
    if len(pairs) < 2:
        return ""
    positive = [b for _, b in pairs if b > 0 and math.isfinite(b)] + ([level] if level and level > 0 else [])
    log_x = min(a for a, _ in pairs) > 0 and pairs[-1][0] / pairs[0][0] > 20
    log_y = bool(positive) and max(positive) / min(positive) > 20
    across = _axis([a for a, _ in pairs], log=log_x)
    up = _axis(positive or [0.0, 1.0], log=log_y)

    def place(a: float, b: float) -> tuple[float, float]:
        return MARGIN + across(a) * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up(b) * (HEIGHT - 2 * MARGIN)

    points = [(*place(a, b), b > 0 or not log_y) for a, b in pairs if math.isfinite(b)]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
    marks = "".join(
        f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2" fill="{"#1a56b0" if seen else "none"}" stroke="#1a56b0"/>'
        for px, py, seen in points
    )
    dashed = ""
    if level is not None and math.isfinite(level):
        _, at = place(pairs[0][0], level)
        dashed = (
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#b00020"'
            f' stroke-dasharray="5 3"/><text x="{WIDTH - MARGIN}" y="{at - 4:.1f}" text-anchor="end"'
            f' fill="#b00020">{escape(level_name)} {level:.3g}</text>'
        )
    ends = [pairs[0][0], pairs[-1][0]]
    tops = [min(positive, default=0.0), max(positive, default=1.0)]
    return _svg(
        title,
        f'<polyline points="{path}" fill="none" stroke="#1a56b0"/>{marks}{dashed}'
        f'<text x="{MARGIN}" y="{HEIGHT - 18}">{ends[0]:.2g}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 18}" text-anchor="end">{ends[1]:.2g}</text>'
        f'<text x="{MARGIN - 4}" y="{HEIGHT - MARGIN}" text-anchor="end">{tops[0]:.2g}</text>'
        f'<text x="{MARGIN - 4}" y="{MARGIN + 4}" text-anchor="end">{tops[1]:.2g}</text>',
    )


def histogram(title: str, data: Sequence[float], *, mark: float | None = None, mark_name: str = "") -> str:
    """How often values fall into twenty bins; ``mark`` is a line down."""
    kept = [v for v in data if math.isfinite(v)]
    if len(kept) < 2:
        return ""
    low, high = min(kept), max([*kept, *([mark] if mark is not None and math.isfinite(mark) else [])])
    if high <= low:
        return ""
    bins = [0] * 20
    for v in kept:
        bins[min(19, int((v - low) / (high - low) * 20))] += 1
    wide, tall = (WIDTH - 2 * MARGIN) / 20, HEIGHT - 2 * MARGIN
    bars = "".join(
        f'<rect x="{MARGIN + at * wide:.1f}" y="{HEIGHT - MARGIN - tall * n / max(bins):.1f}"'
        f' width="{wide - 1:.1f}" height="{tall * n / max(bins):.1f}" fill="#1a56b0"/>'
        for at, n in enumerate(bins)
        if n
    )
    line = ""
    if mark is not None and math.isfinite(mark):
        at = MARGIN + (mark - low) / (high - low) * (WIDTH - 2 * MARGIN)
        line = (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{MARGIN - 6}" y2="{HEIGHT - MARGIN}" stroke="#b00020"'
            f' stroke-dasharray="5 3"/><text x="{at:.1f}" y="{MARGIN - 9}" text-anchor="end"'
            f' fill="#b00020">{escape(mark_name)} {mark:.3g}</text>'
        )
    return _svg(
        title,
        f'{bars}{line}<text x="{MARGIN}" y="{HEIGHT - 18}">{low:.3g}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 18}" text-anchor="end">{high:.3g}</text>',
    )


class _Axis:
    """Values to [0, 1] along one side of a drawing."""

    def __init__(self, low: float, high: float, *, log: bool) -> None:
        self.log, self.low, self.span = log, low, (high - low) or 1.0

    def __call__(self, value: float) -> float:
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        return min(1.0, max(0.0, (value - self.low) / self.span))


def _axis(seen: Sequence[float], *, log: bool) -> _Axis:
    ends = (math.log10(min(seen)), math.log10(max(seen))) if log else (min(0.0, *seen), max(seen))
    return _Axis(*ends, log=log)


def _svg(title: str, inner: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{escape(title)}" font-size="9" font-family="sans-serif" fill="#333">'
        f'<path d="M{MARGIN},{MARGIN} V{HEIGHT - MARGIN} H{WIDTH - MARGIN}" fill="none" stroke="#999"/>'
        f"{inner}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )


__all__ = ["histogram", "line_chart", "picture", "planes", "values"]
