"""What `evaluate` returns: the run's records, as a table in a terminal and as HTML in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from falsefloor.report.comparison import document_comparison
from falsefloor.report.html import table_html
from falsefloor.report.table import ComparisonTable
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array
from falsefloor.store.run_dir import RunDir

if TYPE_CHECKING:
    import pandas as pd


class Results:
    """The outcome of a study: look at it, or take `estimates`, `to_pandas()`, `document`.

    It owns the run's directory for as long as it lives.
    """

    def __init__(self, run: RunDir, *, keep: object = None) -> None:
        self._run, self._keep = run, keep

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole run as the JSON document falsefloor.run/1."""
        with self.reader() as reader:
            return reader.document()

    @property
    def estimates(self) -> list[dict[str, Any]]:
        """One record an estimate and input, as in the JSON of a run."""
        found: list[dict[str, Any]] = self.document["estimates"]
        return found

    @property
    def observations(self) -> list[dict[str, Any]]:
        """One record a subject, norm and input: what was observed there."""
        found: list[dict[str, Any]] = self.document["observations"]
        return found

    def __len__(self) -> int:
        return len(self.estimates)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.estimates)

    def reader(self) -> RunReader:
        """The stored run, to be closed: what reports are made from."""
        return RunReader(self._run)

    def array(self, name: str) -> Array | None:
        """A stored array, for example a witness, by the name that a record gives."""
        with self.reader() as reader:
            return reader.array(name)

    def to_pandas(self) -> pd.DataFrame:
        """The estimates as a table, evidence in columns of its own. Needs the extra `notebook`."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install 'falsefloor[notebook]'") from error
        nested = ("evidence", "queries", "plugin", "params", "stack", "curves")
        rows = []
        for record in self.estimates:
            row = {k: v for k, v in record.items() if k not in nested}
            row["warnings"] = [w["code"] for w in record["warnings"]]
            row |= {f"evidence.{k}": v for k, v in record["evidence"].items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def save(self, path: str | Path) -> None:
        """Write the JSON document."""
        Path(path).write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")

    def __rich__(self) -> ComparisonTable:
        return ComparisonTable(document_comparison(self.document))

    def __repr__(self) -> str:
        # in a notebook rich would display what is captured here, as an empty cell
        console = Console(width=120, force_terminal=False, force_jupyter=False, color_system=None)
        with console.capture() as captured:
            console.print(self.__rich__())
        return captured.get().rstrip()

    def _repr_html_(self) -> str:
        return table_html(document_comparison(self.document))
