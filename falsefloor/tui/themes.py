"""How the app looks on this terminal: themes, how lines take their colours, ASCII where that is all.

The terminal's own sixteen colours come with Textual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

DARK = Theme(
    name="floor-dark",
    dark=True,
    primary="#7aa2c8",
    secondary="#8fb8a8",
    accent="#e0b05a",
    foreground="#d6dae0",
    background="#12151a",
    surface="#171b21",
    panel="#20262e",
    success="#7fb685",
    warning="#e0b05a",
    error="#ee6a64",
    variables={"vacuous": "#b493d6", "quiet": "#848d99", "cursor": "#2b3644", "spot": "#3f5874"},
)
LIGHT = Theme(
    name="floor-light",
    dark=False,
    primary="#28608f",
    secondary="#2f6b58",
    accent="#8a5a00",
    foreground="#1d2126",
    background="#fbfaf7",
    surface="#f4f2ed",
    panel="#e8e5dd",
    success="#2c6e37",
    warning="#8a5a00",
    error="#b3261e",
    variables={"vacuous": "#6d3fa0", "quiet": "#656b73", "cursor": "#dfe6ee", "spot": "#b9cfe4"},
)
ANSI_LIGHT = replace(BUILTIN_THEMES["ansi-light"], warning="ansi_yellow")
"""Textual's own has suspect in bright red, beside refuted in red."""


def grey(theme: Theme) -> Theme:
    """Without colours: what is refuted stands out, where red would be a middle grey."""
    return replace(theme, error="#ffffff" if theme.dark else "#000000")


ORDER = (DARK.name, LIGHT.name, "ansi-dark", "ansi-light")
FALLBACK = {
    "vacuous": "ansi_magenta",
    "quiet": "ansi_bright_black",
    "cursor": "ansi_bright_black",
    "spot": "ansi_blue",
}
"""Our own colours under a theme that does not have them."""


def first_theme(environ: Mapping[str, str]) -> str:
    """The theme to begin with: FALSEFLOOR_THEME (dark, light, ansi), else what the terminal can show."""
    asked = {"dark": DARK.name, "light": LIGHT.name, "ansi": "ansi-dark"}.get(
        environ.get("FALSEFLOOR_THEME", "")
    )
    if asked:
        return asked
    term, colours = environ.get("TERM", ""), environ.get("COLORTERM", "")
    rich = colours in ("truecolor", "24bit") or "256color" in term or term.endswith(("kitty", "direct"))
    return DARK.name if rich or environ.get("NO_COLOR") else "ansi-dark"


TONES = {
    "refuted": "bold $error",
    "error": "bold $error",
    "failed": "bold $error",
    "suspect": "$warning",
    "vacuous": "$vacuous",
    "unchecked": "$quiet",
    "held": "$success",
    "dim": "$quiet",
    "skipped": "$quiet",
    "cancelled": "$quiet",
    "strong": "bold",
    "live": "$primary",
    "heading": "bold $primary",
    "primary": "$primary",
    "secondary": "$secondary",
    "warning": "$warning",
}
"""Tones of lines, as Textual's styles."""
Line = tuple[str, str]
"""A sentence and its tone."""


def styled(lines: Iterable[Line], *, joint: str = "\n") -> Content:
    """Lines with their tones; the text is shown letter by letter, never read as markup."""
    pieces: list[tuple[str, str]] = []
    for n, (text, tone) in enumerate(lines):
        pieces.append(((joint if n else "") + text, TONES.get(tone, "")))
    return Content.assemble(*pieces)


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
        **dict.fromkeys("≳≥⊢", ">"),
        **dict.fromkeys("≲≤", "<"),
        "×": "x",
        "…": "~",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "⊢": "|",
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
