"""The nearest points that any unit met at a subject's input, told beside what was observed there.

Units end in any order, and an estimate may be stored before the observation it is judged by. So points stay
the arrays of the unit that met them, and whichever comes later, unit or observation, brings the two together.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from falsefloor.checks.verdicts import Place
from falsefloor.jsonable import as_number, finite
from falsefloor.observed import MET
from falsefloor.store.verdicts import THERE


def tell(db: sqlite3.Connection, at: Place, cells: Iterable[str]) -> None:
    """What units of these cells met becomes a fact of the observation there, where it is nearer than what is
    known; nothing where there is no observation yet."""
    row = db.execute(f"SELECT facts FROM observation WHERE {THERE}", at._asdict()).fetchone()
    if row is None:
        return
    known = json.loads(row[0])
    told, names = dict(known.get("met", {})), dict(known.get("arrays", {}))
    for cell in cells:
        for what, role in MET.items():
            name = f"{cell}/{at.input}/{role}"
            stored = db.execute("SELECT facts FROM array WHERE name = ?", (name,)).fetchone()
            if stored is not None:
                point = json.loads(stored[0])
                if what not in told or _order(point, name) < _order(told[what], names.get(role, "")):
                    told[what], names[role] = {**point, "array": role}, name
    if told != known.get("met", {}):
        facts = json.dumps(finite({**known, "met": told, "arrays": names}))
        db.execute(f"UPDATE observation SET facts = :facts WHERE {THERE}", {"facts": facts, **at._asdict()})


def _order(point: Mapping[str, Any], name: str) -> tuple[float, str]:
    """The nearer first; of equals the same one, whichever came first."""
    distance = as_number(point.get("distance"))
    return float("inf") if distance is None else distance, name
