"""Inputs from a table (`csv:FILE`, `parquet:FILE`): one row an input, one column a feature."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.errors import DomainError, UsageError, did_you_mean
from falsefloor.models.refs import existing_file, needs, refusal, select, split_options

FORM = "csv:FILE.csv:label=COLUMN, csv:FILE.csv:label=COLUMN,columns=A;B:0-9"
KEYS = ("columns", "label")
LABELS = ("label", "labels", "target", "class", "y")
"""Columns that hold the classes where none is named."""

Columns = Mapping[str, Sequence[object]]


@dataclass(frozen=True)
class TableInputs:
    """`csv:FILE[:label=COLUMN,columns=A;B][:0-9]`: features in the order of the file's columns, or as named.

    The first row names the columns. label: the column of classes, by number or by name, names sorted; without
    it one of `LABELS`, else the model's own answers. Other columns must be numbers. Raises `UsageError` and
    `DomainError`.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        name, *rest = ref.split(":")
        options, chosen = split_options(rest, KEYS, what="tables", form=FORM)
        path = existing_file(name, kind="table", form=FORM)
        return _inputs(path, self.read(path), options, chosen, model)

    def read(self, path: Path) -> Columns:
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                head = lines.read(65536)
                lines.seek(0)
                tabs = "\t" in head.partition("\n")[0] or path.suffix == ".tsv"
                semicolons = head.partition("\n")[0].count(";") > head.partition("\n")[0].count(",")
                rows = [
                    row
                    for row in csv.reader(lines, delimiter="\t" if tabs else ";" if semicolons else ",")
                    if row
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise refusal(f"{path} cannot be read as a table of text: {error}.", str(path)) from error
        if len(rows) < 2:
            raise UsageError(f"{path} holds {len(rows)} rows; expected a row of names and one row an input.")
        names = [cell.strip() for cell in rows[0]]
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(names):
                raise UsageError(
                    f"{path}, row {number}: {len(row)} cells where {len(names)} columns are named."
                )
        if len(set(names)) < len(names) or all(_number(name) is not None for name in names):
            raise UsageError(
                f"{path}: its first row is {', '.join(names[:5])!r:.100}; expected the columns' names, each"
                " once."
            )
        return {column: [row[at] for row in rows[1:]] for at, column in enumerate(names)}


@dataclass(frozen=True)
class ParquetInputs(TableInputs):
    """`parquet:FILE`: the same from Parquet; needs `pip install "falsefloor[tables]"` (pyarrow)."""

    def read(self, path: Path) -> Columns:
        try:
            from pyarrow import ArrowException, parquet
        except ModuleNotFoundError as error:
            other = ", or write the table as CSV: --inputs csv:FILE.csv"
            raise needs("parquet", "pyarrow", "tables", other) from error
        try:
            found: Columns = parquet.read_table(path).to_pydict()
        except (ArrowException, OSError, ValueError) as error:
            raise refusal(f"{path} cannot be read as Parquet: {error}.", str(path)) from error
        return found


def _inputs(
    path: Path, table: Columns, options: Mapping[str, str], chosen: str, model: LoadedModel
) -> LabelledInputs:
    names = list(table)
    label = options.get("label") or next((name for name in names if name.lower() in LABELS), "")
    wanted = options["columns"].split(";") if "columns" in options else [one for one in names if one != label]
    for name in (*wanted, *([label] if label else [])):
        if name not in table:
            raise UsageError(f"{path} has no column {name!r}. {did_you_mean(name, names)}")
    features = [_column(path, name, table[name]) for name in wanted]
    values = torch.tensor(features, dtype=torch.float64).T.contiguous()
    if not wanted or not len(values):
        raise UsageError(
            f"{path} holds {len(names)} columns and {len(values)} rows; nothing is left to judge."
        )
    shape = tuple(model.input_shape)
    if shape and math.prod(shape) != len(wanted):
        raise DomainError(
            f"{path}: {len(wanted)} columns are features ({', '.join(wanted[:4])} …), the model takes"
            f" {math.prod(shape)}. Name them: columns=A;B, or the column of classes: label=COLUMN."
        )
    rows = select(chosen, count=len(values), what=str(path)) if chosen else list(range(len(values)))
    labels = _classes(table[label], model.classes, path) if label else None
    return LabelledInputs(
        inputs=values[rows].reshape(-1, *(shape or (len(wanted),))),
        labels=None if labels is None else torch.tensor([labels[row] for row in rows]),
        names=[f"{path.name}:{row}" for row in rows],
    )


def _column(path: Path, name: str, cells: Sequence[object]) -> list[float]:
    found = [_number(cell) for cell in cells]
    for row, (cell, value) in enumerate(zip(cells, found, strict=True)):
        if value is None:
            raise UsageError(
                f"{path}, column {name!r}, input {row}: {cell!r:.40} is no number. Encode it as the model was"
                " trained, or leave the column out: columns=A;B."
            )
    return [value for value in found if value is not None]


def _classes(cells: Sequence[object], classes: int, path: Path) -> list[int]:
    numbers = [_number(cell) for cell in cells]
    if all(number is not None and number == int(number) for number in numbers):
        return [int(number or 0) for number in numbers]
    names = sorted({str(cell) for cell in cells})
    if classes and len(names) != classes:
        raise DomainError(
            f"{path}: its labels are {len(names)} names ({', '.join(names[:4])} …), the model has {classes}"
            " classes: their order does not say which is which. Write the classes' numbers."
        )
    return [names.index(str(cell)) for cell in cells]


def _number(cell: object) -> float | None:
    try:
        found = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
