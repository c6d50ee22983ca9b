"""Which characters this terminal can show, and outside text made harmless.

Model names, maskers, messages and paths come from elsewhere: they are shown letter by letter and can neither
move the cursor nor turn the writing direction around.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter


@dataclass(frozen=True)
class Glyphs:
    """The characters with a meaning; each set says the same in other letters."""

    about_at_least: str
    at_least: str
    at_most: str
    queued: str
    cursor: str
    up: str
    down: str
    dot: str
    ellipsis: str
    times: str
    dash: str
    cross: str
    bar: str

    def mark(self, verdict: str | None) -> str:
        """A letter beside a number that has no room for the verdict's word."""
        return {"refuted": self.cross[0], "suspect": "?", "vacuous": "~"}.get(verdict or "", " ")


UNICODE = Glyphs("≳", "≥", "≤", "–", "▸", "▲", "▼", "·", "…", "×", "—", "✗", "█")
ASCII = Glyphs(">~", ">=", "<=", "-", ">", "^", "v", "|", "~", "x", "--", "x", "#")


def speaks_utf8(environ: Mapping[str, str]) -> bool:
    """Whether the terminal's encoding is UTF-8, by the order in which the C library reads the locale.

    Python turns UTF-8 on by itself under LC_ALL=C, so its own stream encoding does not answer this.
    """
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environ.get(name):
            return value.lower().replace("-", "").endswith("utf8") or ".utf8" in value.lower().replace(
                "-", ""
            )
    return True


def glyphs(environ: Mapping[str, str] | None = None) -> Glyphs:
    """The set for this terminal; FALSEFLOOR_ASCII=1 asks for ASCII."""
    given = os.environ if environ is None else environ
    plain = given.get("FALSEFLOOR_ASCII", "") not in ("", "0") or not speaks_utf8(given)
    return ASCII if plain else UNICODE


_HARMLESS = frozenset("\u200d")
"""Joins emoji; a format character, but one that moves nothing."""


@lru_cache(4096)
def clean(text: str) -> str:
    """One line of text without control, format or lone surrogate characters; those are spelt out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelt(char) for char in text)


def clean_lines(text: str) -> str:
    """As `clean`, keeping line breaks."""
    return "\n".join(clean(line.expandtabs(4)) for line in text.split("\n"))


def _spelt(char: str) -> str:
    if char in "\n\t\r":
        return " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and char not in _HARMLESS:
        return char.encode("unicode_escape").decode("ascii")
    return char


_FALLBACK = str.maketrans(
    {
        **dict.fromkeys("─━═╌┄┈▔▁▂▃▄‾–—−", "-"),
        **dict.fromkeys("│┃║╎┆┊▏▎▍▌▐▕", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╞╡╪┏┓┗┛┣┫┳┻╋", "+"),
        **dict.fromkeys("█▇▆▅▊▉▓▒░▀▛▜▙▟▞▚■▪", "#"),
        **dict.fromkeys("•·∙⋅●○◦", "."),
        **dict.fromkeys("▸▶›»→⭘", ">"),
        **dict.fromkeys("◂◀‹«←", "<"),
        **dict.fromkeys("▲△↑⌃", "^"),
        **dict.fromkeys("▼▽↓", "v"),
        **dict.fromkeys("≳≥", ">"),
        **dict.fromkeys("≲≤", "<"),
        "×": "x",
        "…": "~",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "∞": "8",
        "✓": "+",
        "✗": "x",
        "²": "2",
        "₂": "2",
        "₁": "1",
        "ℓ": "l",
        "δ": "d",
        "ε": "e",
        "↵": "<",
    }
)


@lru_cache(8192)
def ascii_text(text: str) -> str:
    """The text in ASCII, as many cells wide: what Textual and plots draw beyond our own glyphs."""
    if text.isascii():
        return text
    # A braille cell is a plot's dots: show that there is something.
    shown = "".join(" " if c == "⠀" else "*" if "⠀" < c <= "⣿" else c for c in text.translate(_FALLBACK))
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in shown)


class AsciiFilter(LineFilter):
    """Nothing but ASCII reaches the terminal, borders and scrollbars included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [Segment(ascii_text(text), style, control) for text, style, control in segments]


__all__ = ["ASCII", "UNICODE", "AsciiFilter", "Glyphs", "ascii_text", "clean", "clean_lines", "glyphs"]
