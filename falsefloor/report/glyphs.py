"""How radii, verdicts and other people's words look in text, with a plain ASCII form for every sign."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from falsefloor.jsonable import as_number

MARKS = {"refuted": "x", "suspect": "?", "vacuous": "~", "unchecked": "-", "held": ""}
"""Beside a number that has no room for the verdict's word."""

STYLES = {
    "refuted": "bold red",
    "suspect": "yellow",
    "vacuous": "magenta",
    "unchecked": "dim",
    "held": "green",
    "failed": "bold red",
    "skipped": "dim",
    "cancelled": "dim",
}


@dataclass(frozen=True)
class Glyphs:
    """The signs of one encoding. about: an estimate; least: a bound from below, or a score at its cap."""

    about: str = "≳"
    least: str = "≥"
    most: str = "≤"
    infinity: str = "∞"
    times: str = "×"
    dot: str = "·"
    dash: str = "–"
    line: str = "─"
    more: str = "…"

    def sign(self, claim: str, *, capped: bool = False) -> str:
        if claim == "upper_bound":
            return self.most
        return self.least if capped or claim == "lower_bound" else self.about

    def radius(self, value: float | str | None, *, claim: str, capped: bool = False) -> str:
        """A radius with the sign of its claim, four significant digits: "≳0.0320"; "–" for none."""
        number = as_number(value)
        if number is None:
            return self.dash
        return self.sign(claim, capped=capped) + self.number(number)

    def number(self, value: float) -> str:
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return self.infinity if value > 0 else f"-{self.infinity}"
        size = abs(value)
        if size == 0.0:
            return "0"
        if size < 1e-3 or size >= 1e5:
            digits, exponent = f"{value:.1e}".split("e")
            return f"{digits}e{int(exponent)}"
        return f"{value:.4f}" if size < 10 else f"{value:.4g}"

    def ratio(self, value: float | None) -> str:
        if value is None or math.isnan(value):
            return ""
        if value == 0:
            return f"{self.times}0"
        if math.isinf(value):
            return self.times + self.infinity
        shown = f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
        return f"{self.times}{shown if value >= 0.005 else f'{value:.0e}'.replace('e-0', 'e-')}"


UNICODE = Glyphs()
ASCII = Glyphs(">~", ">=", "<=", "inf", "x", "-", "-", "-", "...")


def glyphs_for(encoding: str | None) -> Glyphs:
    """Unicode signs where both the stream and the locale can show them, ASCII elsewhere.

    Python turns UTF-8 on by itself under LC_ALL=C, so the stream alone does not answer this.
    FALSEFLOOR_ASCII=1 asks for ASCII.
    """
    asked = os.environ.get("FALSEFLOOR_ASCII", "") not in ("", "0")
    locale = next(
        (found for name in ("LC_ALL", "LC_CTYPE", "LANG") if (found := os.environ.get(name))), "utf-8"
    )
    able = all("utf" in name.lower() for name in (encoding or "", locale))
    return UNICODE if able and not asked else ASCII


def plain(text: str, *, longest: int = 2000) -> str:
    """Other people's text on one line: nothing in it can move a cursor, start a colour or break a table.

    Control and format characters (escape codes, line ends, text direction) become their escaped names.
    """
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] if c not in "\n\r\t" else " " for c in text)
    return safe if len(safe) <= longest else safe[: longest - 1] + "…"
