"""How numbers, radii, verdicts and other people's words look in text: decided here, once, for every surface.

A number has four decimals below 10 (0.0320) and four significant digits above (148.2); below 0.001 and from
100,000 it has two digits and an exponent (1.2e-5). A ratio has three significant digits (×17.2). Infinity and
NaN are the words `inf` and `nan`, as in JSON; an upper bound of infinity is "none found".

Each of three kinds of lower number has a mark of its own: an estimate ≳, an estimate at its cap ≥, a
certified bound ⊢; an upper bound has ≤. Every sign has an ASCII form.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from falsefloor.checks.verdicts import ORDER
from falsefloor.jsonable import as_number

STYLES = {
    "refuted": "bold red",
    "suspect": "yellow",
    "failed": "bold red",
    "vacuous": "magenta",
    "unchecked": "dim",
    "held": "green",
    "skipped": "dim",
    "cancelled": "dim",
}
"""Looks of a verdict or state on a terminal. An unknown word has none, and is shown as it is."""


@dataclass(frozen=True)
class Glyphs:
    """The signs of one encoding; each set says the same in other letters."""

    about: str = "≳"
    capped: str = "≥"
    certified: str = "⊢"
    most: str = "≤"
    times: str = "×"
    none: str = "–"
    dash: str = "—"
    dot: str = "·"
    ellipsis: str = "…"
    line: str = "─"
    bar: str = "█"
    cross: str = "✗"
    cursor: str = "▸"
    up: str = "▲"
    down: str = "▼"
    floor: str = "●"
    ceiling: str = "◆"

    def sign(self, claim: str, *, capped: bool = False) -> str:
        """What a radius says of the distance: a guess from below, as far as was looked, proven, at most."""
        if claim == "upper_bound":
            return self.most
        if claim == "lower_bound":
            return self.certified
        return self.capped if capped else self.about

    def radius(self, value: float | str | None, *, claim: str, capped: bool = False) -> str:
        """A radius with the sign of its claim: "≳0.0320"; "none found", or "–" where there is no number."""
        found = as_number(value)
        if found is None:
            return self.none
        if claim == "upper_bound" and found == math.inf:
            return "none found"
        return self.sign(claim, capped=capped) + number(found)

    def ratio(self, value: float | None) -> str:
        """A multiple of the unmasked number: ×9.38, ×17.2, ×148, ×3e-7; nothing where there is none."""
        if value is None or math.isnan(value):
            return ""
        size = abs(value)
        if size == 0 or math.isinf(value):
            return f"{self.times}{value:g}"
        if size < 0.00995 or size >= 9999.5:
            return self.times + _exponent(f"{value:.0e}")
        return f"{self.times}{value:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"

    def mark(self, verdict: str | None) -> str:
        """A sign beside a number that has no room for the verdict's word; none for what held."""
        signs = {"refuted": self.cross, "suspect": "?", "vacuous": "~", "unchecked": "-", "failed": "!"}
        return signs.get(verdict or "", "")


UNICODE = Glyphs()
ASCII = Glyphs(">~", ">=", "|-", "<=", "x", "-", "--", "|", "~", "-", "#", "x", ">", "^", "v", "o", "+")


def glyphs_for(encoding: str | None = "utf-8", environ: Mapping[str, str] | None = None) -> Glyphs:
    """Unicode signs where both the stream and the locale can show them, ASCII elsewhere.

    Python turns UTF-8 on by itself under LC_ALL=C, so the stream alone does not answer this: the locale is
    read in the C library's order. FALSEFLOOR_ASCII=1 asks for ASCII.
    """
    given = os.environ if environ is None else environ
    asked = given.get("FALSEFLOOR_ASCII", "") not in ("", "0")
    locale = next((found for name in ("LC_ALL", "LC_CTYPE", "LANG") if (found := given.get(name))), "utf-8")
    able = all("utf8" in name.lower().replace("-", "") for name in (encoding or "", locale))
    return UNICODE if able and not asked else ASCII


def code_in(reason: str) -> str:
    """The code that a reason begins with: "FF201" of "FF201 floor above ceiling", "" of "no upper bound"."""
    word = reason.partition(" ")[0]
    return word if any(map(str.isupper, word)) else ""


def number(value: float) -> str:
    """A number in few letters, by the rule above."""
    size = abs(value)
    if size == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    if size < 1e-3 or size >= 99_999.5:
        return _exponent(f"{value:.1e}")
    return f"{value:.4f}" if size < 9.99995 else f"{value:.4g}" if size < 999.95 else f"{value:.0f}"


def _exponent(shown: str) -> str:
    digits, exponent = shown.split("e")
    return f"{digits}e{int(exponent)}"


def tallied(counts: Mapping[str, int]) -> dict[str, str]:
    """Verdict or state to how many there are, as printed, gravest first: "3 refuted", "2 failed"."""
    known = [word for word in ORDER if counts.get(word)]
    others = sorted(word for word, count in counts.items() if count and word not in ORDER)
    return {word: f"{counts[word]:,} {clean(word)}" for word in (*known, *others)}


def outcome(counts: Mapping[str, int]) -> str:
    """What a run found: "3 refuted, 2 failed, 19 held"."""
    return ", ".join(tallied(counts).values()) or "nothing was estimated"


def share(units: Mapping[str, int]) -> str:
    """Of all units that are planned, what is done and what will not come: "14/24 units, 2 failed"."""
    words = [f"{units[word]} {word}" for word in ("failed", "cancelled") if units.get(word)]
    return ", ".join([f"{units['done']}/{units['total']} units", *words])


def verdict_word(verdict: str | None) -> str:
    """A verdict as a word that needs no colour: the worst one in capitals; an unknown one as it is."""
    return "" if not verdict else verdict.upper() if verdict == "refuted" else clean(verdict)


def tone(verdict: str | None) -> str:
    """The name by which a surface finds a verdict's looks: its own, or empty for an unknown one."""
    return verdict if verdict in STYLES else ""


def clock(seconds: float) -> str:
    """00:01:12, or 3d 04:00:00."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    shown = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {shown}" if days else shown


def size(count: float) -> str:
    """Bytes: 950 B, 1.2 MB."""
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= of:
            return f"{count / of:.3g} {unit}"
    return f"{count:.0f} B"


def roughly(seconds: float) -> str:
    """A duration in one unit: 40 s, 3 min, 2.5 h, 4 days."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s" if seconds >= 1 else "under a second"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def fact(given: Any) -> str:
    """One stored fact as text: numbers short, lists by their beginning."""
    if isinstance(given, bool) or given is None:
        return {True: "yes", False: "no", None: "none"}[given]
    if isinstance(given, int):
        return f"{given:,}"
    if isinstance(given, float):
        # counts and flags are stored as floats
        return f"{given:,.0f}" if given.is_integer() and abs(given) < 1e5 else number(given)
    if isinstance(given, Mapping):
        return clean(", ".join(f"{key} {fact(item)}" for key, item in given.items()))
    if isinstance(given, list | tuple):
        shown = ", ".join(fact(item) for item in given[:6])
        return clean(shown) + (f", and {len(given) - 6} more" if len(given) > 6 else "")
    return clean(str(given))


@lru_cache(4096)
def clean(text: str, *, longest: int = 2000) -> str:
    """Other people's text on one line: nothing in it can move a cursor, start a colour or break a table.

    Spaces of every kind become spaces; control and format characters (escape codes, text direction) and
    what is no character at all are spelt out.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if c.isprintable() else " " if c.isspace() else _spelt(c) for c in text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def clean_lines(text: str) -> str:
    """As `clean`, line by line."""
    return "\n".join(clean(line.expandtabs(4)) for line in text.split("\n"))


def _spelt(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
