"""Nothing but ASCII reaches a terminal that can show nothing else, whatever Textual and plots draw."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

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
