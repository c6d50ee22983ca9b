"""What `evaluate` returns: the run's records, as a table in a terminal and as HTML in a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from rich.console import Console

from falsefloor.errors import FalsefloorError, did_you_mean
from falsefloor.jsonable import finite
from falsefloor.report.comparison import Comparison, read_comparison
from falsefloor.report.forms import table_html
from falsefloor.report.table import ComparisonTable
from falsefloor.store.files import copy_folder, write_whole
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Sheet
    from numpy.typing import NDArray

    from falsefloor.report.figure import Figure

SHOWN = 60
"""Lines of a table that an interpreter shows unasked; `print` shows all."""
_PLACE = ("model", "masker", "norm", "name")


class Results:
    """The outcome of a study: look at it, or take `estimates`, `to_pandas()`, `plot()`, `document`.

    results["staircase:c=255", "clever"] are the estimates at a place, in any order of its parts: model,
    masker, norm, estimator's name, and the number of an input, which alone gives one record. results[0] and
    slices count the estimates as in a list. It owns the run's directory for as long as it lives.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run

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

    @property
    def refuted(self) -> list[dict[str, Any]]:
        """The estimates that a stored point contradicts."""
        return [record for record in self.estimates if record["verdict"] == "refuted"]

    def __len__(self) -> int:
        return len(self.estimates)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.estimates)

    def __getitem__(self, place: Any) -> Any:
        """Estimates by their number, or by their place. Raises `IndexError`, or `KeyError` in words."""
        if isinstance(place, slice) or hasattr(place, "__index__"):
            return self.estimates[place]
        parts = place if isinstance(place, tuple) else (place,)
        found = [record for record in self.estimates if all(_is_at(record, part) for part in parts)]
        if not found:
            known = {str(record[name]) for record in self.estimates for name in (*_PLACE, "input")}
            lacking = [part for part in parts if str(part) not in known]
            # KeyError would print the message's repr, in quotes
            raise _NoPlaceError(
                f"no estimate at {place!r}. {did_you_mean(str(lacking[0]), known)}"
                if lacking
                else f"no estimate at {place!r}: each part exists, but not together."
            )
        one = len(found) == 1 and any(hasattr(part, "__index__") for part in parts)
        return found[0] if one else found

    def reader(self) -> RunReader:
        """The stored run, to be closed: what reports are made from."""
        return RunReader(self._run)

    def array(self, name: str | Mapping[str, Any]) -> NDArray[Any]:
        """A stored array, for example a witness, by the name that a record gives, or by the record's witness
        itself: {"array": name, …}. Raises `KeyError`."""
        import numpy as np

        name = str(name["array"]) if isinstance(name, Mapping) else name
        with self.reader() as reader:
            found = reader.array(name)
        if found is None:
            raise _NoPlaceError(
                f"no stored array {name!r}; records name theirs, as record['witness'] does. Of points"
                " beyond the disk set for them (witnesses) only what was measured is kept."
            )
        # two bytes a number, of a kind that numpy does not have: the upper halves of float32
        if found.dtype == "bfloat16":
            return (np.frombuffer(found.data, "<u2").astype("<u4") << 16).view("<f4").reshape(found.shape)
        return np.frombuffer(found.data, np.dtype(found.dtype).newbyteorder("<")).reshape(found.shape).copy()

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

    def robust_accuracy(self, *radii: float | str) -> list[dict[str, Any]]:
        """For each subject and radius how many inputs withstand it: ``certified``, ``estimated``,
        ``unbroken``, ``attacked`` and ``wrong`` (misclassified) of ``inputs``; ``bracket``, which holds the
        exact share of these inputs, and ``interval``, of all inputs like them at ``level``.

        radii: in the inputs' own units, numbers or "8/255"; without one, a few round ones. Raises
        `UsageError` for a radius of other units and for a run without estimates.
        """
        from falsefloor.report.accuracy import read_sets
        from falsefloor.report.radii import chosen_radii

        with self.reader() as reader:
            sets = read_sets(reader)
            chosen, _ = chosen_radii([str(one) for one in radii], sets, reader.models())
        return [one.where | one.at(radius).to_json() for one in sets for radius in chosen]

    def claim(self, *claims: str) -> list[dict[str, Any]]:
        """Each claim, as "linf 8/255 accuracy >= 0.61", of each subject under its norm: ``outcome``, "held",
        "refuted" or "not decided", why, the counts, and the ``witnesses`` within its radius.

        Raises `UsageError` for what is no claim, or of what was not run.
        """
        from falsefloor.report.accuracy import read_sets
        from falsefloor.report.claims import check_claims, parse_claim

        with self.reader() as reader:
            told = [parse_claim(one) for one in claims]
            return [one.to_json() for one in check_claims(told, read_sets(reader), reader.models())[0]]

    def plot(self, kind: str = "radii", *place: Any) -> Sheet:
        """A picture, as a figure of matplotlib's (the extra `report`).

        kind: "radii" (every claim), "intervals" (what is proved, estimated and found at each input),
        "accuracy" (the share of inputs that withstand a radius), or of one estimate "spectrum", "fit" or
        "score". place: whose, as in ``results[…]``; without it, everybody's, or the gravest estimate's.
        Raises `KeyError` where nothing of it is stored.
        """
        from falsefloor.report.accuracy import input_sets
        from falsefloor.report.detail import read_detail
        from falsefloor.report.figure import FIGURES
        from falsefloor.report.paint_plot import LOOK, sheet
        from falsefloor.report.radii import comparison, curves
        from falsefloor.report.standing import by_input, picture

        of_all: dict[str, Callable[[Iterable[dict[str, Any]]], Figure]] = {
            "radii": comparison,
            "intervals": lambda records: picture(by_input(records)),
            "accuracy": lambda records: curves(input_sets(records)),
        }
        if kind not in (*of_all, *FIGURES):
            raise _NoPlaceError(f"no picture {kind!r}. {did_you_mean(kind, (*of_all, *FIGURES))}")
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise ImportError("plot needs matplotlib: pip install 'falsefloor[report]'") from error
        records = self[place] if place else self.estimates
        records = records if isinstance(records, list) else [records]
        with mpl.rc_context(LOOK):
            if kind in of_all:
                return sheet([of_all[kind](records)])
            with self.reader() as reader:
                ids = {(one.model, one.masker, one.norm, one.label): one.id for one in reader.series()}
                rank = {place[1:3]: at for at, place in enumerate(reader.ranked())}
                places = [
                    (ids[tuple(record[name] for name in _PLACE)], record["input"]) for record in records
                ]
                for series, at in sorted(places, key=lambda place: rank.get(place, len(rank))):
                    detail = read_detail(reader, series, at)
                    if (figure := FIGURES[kind](detail)) is not None:
                        told = (detail.record["masker"], detail.record["name"], f"input {at}")
                        return sheet([figure], title=" · ".join(map(str, told)))
        raise _NoPlaceError(f"nothing is stored that a picture {kind!r} could be drawn from.")

    def save(self, path: str | Path) -> Path:
        """Keep the run: a folder that `falsefloor.load`, `falsefloor show` and the app open.

        A path that ends with .json gets the document alone. Raises `StoreError` where the folder exists.
        """
        path = Path(path)
        if path.suffix == ".json":
            write_whole(path, json.dumps(finite(self.document), indent=1, allow_nan=False))
        else:
            copy_folder(self._run, path)
        return path

    def __rich__(self) -> ComparisonTable:
        return ComparisonTable(self._comparison())

    def __repr__(self) -> str:
        lines = self._lines(get_terminal_size((120, 24)).columns)
        left = len(lines) - SHOWN
        return "\n".join([*lines[:SHOWN], f"… {left} more lines: print(results)"] if left > 1 else lines)

    def __str__(self) -> str:
        return "\n".join(self._lines(get_terminal_size((120, 24)).columns))

    def _lines(self, width: int) -> list[str]:
        # in a notebook rich would display what is captured here, as an empty cell
        console = Console(width=width, force_terminal=False, force_jupyter=False, color_system=None)
        with console.capture() as captured:
            console.print(self.__rich__())
        return [line.rstrip() for line in captured.get().rstrip().splitlines()]

    def _repr_html_(self) -> str:
        return table_html(self._comparison())

    def _comparison(self) -> Comparison:
        with self.reader() as reader:
            return read_comparison(reader)


class _NoPlaceError(FalsefloorError, KeyError):
    """A place, an array or a picture that does not exist."""

    def __str__(self) -> str:
        return str(self.args[0])


def _is_at(record: Mapping[str, Any], part: Any) -> bool:
    if hasattr(part, "__index__"):
        return bool(record["input"] == part)
    return part in [record[name] for name in _PLACE]
