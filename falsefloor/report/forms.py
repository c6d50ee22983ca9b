"""A run as a text for programs, people or a paper: the same whoever writes it, command line or app."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from falsefloor.store.reader import RunReader

# Each form is imported where it is asked for: a table needs no page, and a page no citations.


def text(
    reader: RunReader, form: str, *, at: Sequence[str] = (), note: Callable[[str], None] = lambda _: None
) -> str | Iterator[str]:
    """As json, csv, md, html, tex, bib or methods. at: the radii of a set's shares; note: told beside."""
    if form == "json":
        from falsefloor.jsonable import written

        return written(reader.streamed())
    if form == "csv":
        from falsefloor.report.spreadsheet import write_csv

        file = io.StringIO()
        write_csv(reader.estimates(), file)
        return file.getvalue()
    if form in ("bib", "methods"):
        from falsefloor.report.citing import bibtex, methods

        info = reader.info()
        return bibtex(info) if form == "bib" else methods(info, reader.series())
    if form in ("md", "tex"):
        from falsefloor.report.accuracy import sets_so_far, tabular
        from falsefloor.report.citing import latex
        from falsefloor.report.comparison import read_comparison
        from falsefloor.report.markdown import markdown
        from falsefloor.report.radii import chosen_radii

        sets = sets_so_far(reader)
        radii, said = chosen_radii(at, sets, reader.models())
        for line in said:
            note(line)
        shares = tabular(sets, radii)
        if form == "md":
            return f"{markdown(reader)}\n{shares.markdown()}"
        return f"{latex(read_comparison(reader))}\n{shares.latex()}"
    from falsefloor.report.page import page

    return page(reader)
