"""What one cell or row of the comparison says, in words: shared by all text forms."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells
from rich.text import Text

from falsefloor.report.comparison import Comparison, Entry, Row
from falsefloor.report.text import STYLES, Glyphs, clean, verdict_word


def subject_name(comparison: Comparison, row: Row) -> str:
    """A row's name, without what is the same in every row."""
    model, masker, norm = row.subject
    parts = [model if len(comparison.models) > 1 else "", masker, norm if len(comparison.norms) > 1 else ""]
    return " ".join(clean(part) for part in parts if part)


def cell_text(entry: Entry | None, *, glyphs: Glyphs) -> Text:
    """One number with its claim and, where it does not stand, its mark; or how far it is."""
    if entry is None:
        return Text("")
    cell = entry.cell
    if cell.radius is None and cell.live is not None:
        share, moving = cell.live
        shown = "" if moving is None else f"{glyphs.radius(moving, claim=entry.series.claim)} "
        return Text(f"{shown}{share:.0%}", style="cyan")
    if cell.radius is None:
        state = next((s for s in ("failed", "skipped", "cancelled") if cell.verdicts.get(s)), "")
        return Text(state or glyphs.dash, style=STYLES.get(state, "dim"))
    shown = glyphs.radius(cell.radius, claim=entry.series.claim, capped=cell.capped)
    mark = glyphs.mark(cell.worst) + ("!" if entry.failed else "")
    return Text(f"{shown}{mark:<1}", style=STYLES.get(cell.worst or "", "") if mark else "")


def verdict_text(row: Row) -> Text:
    """ "REFUTED", "3/5 refuted", "held", or nothing while nothing has come back."""
    told, verdict = row.told, row.verdict
    if told is None or not verdict:
        return Text("")
    of = sum(told.cell.verdicts.values())
    count = told.cell.verdicts.get(verdict, 0)
    partly = of > 1 and count < of
    word = f"{count}/{of} {verdict}" if partly else verdict
    return Text(word if partly else verdict_word(verdict), style=STYLES.get(verdict, ""))


def why(row: Row) -> str:
    """The reason of the row's verdict, in one line."""
    return "" if row.told is None else clean(row.told.cell.reason)


def recovered_words(comparison: Comparison, row: Row, *, glyphs: Glyphs) -> list[str]:
    """The estimates made again with a repaired gradient, for layouts without columns for them."""
    words = []
    for column, entry in zip(comparison.columns, row.entries, strict=True):
        if entry is not None and entry.series.recovers is not None and entry.cell.radius is not None:
            shown = cell_text(entry, glyphs=glyphs).plain.strip()
            words.append(f"{clean(column)} {shown} {entry.cell.worst or ''}".rstrip())
    return words


def wrapped(words: str, width: int) -> list[str]:
    """Words on lines of this many terminal cells; a word that is longer is cut."""
    lines: list[str] = []
    for word in words.split():
        for piece in chop_cells(word, width):
            if lines and cell_len(lines[-1]) + 1 + cell_len(piece) <= width:
                lines[-1] += f" {piece}"
            else:
                lines.append(piece)
    return lines


def changed_class(row: Row) -> str:
    """Said where a masker interferes with the model: the comparison is then with another model."""
    same, of = row.agreement or (0, 0)
    return "" if same == of else f"the masker changes the class of {of - same}/{of} inputs"


__all__ = ["cell_text", "changed_class", "recovered_words", "subject_name", "verdict_text", "why", "wrapped"]
