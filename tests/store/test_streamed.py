"""A run of 100,000 estimates as JSON: read and written one by one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stored_run import stored

from falsefloor.jsonable import finite, written
from falsefloor.store.reader import RunReader

MOST = 300 * 2**20
TIMES = 1400
"""Of the 75 estimates that the stored run has."""
ASK = """
import sys
from pathlib import Path
from falsefloor.cli.app import run_command
code = run_command(sys.argv[1:])
# ru_maxrss is no less than what whoever started us held then
(most,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(code, int(most.split()[1]) * 1024, file=sys.stderr)
"""


def test_what_is_written_part_by_part_is_the_document(tmp_path: Path) -> None:
    with RunReader(stored(tmp_path)) as reader:
        whole = json.dumps(finite(reader.document()), indent=1, allow_nan=False)
        assert "".join(written(reader.streamed())) == whole
    for odd in ({}, {"a": []}, {"a": {}, "b": [1, {"c": "d\n"}]}):
        assert "".join(written(odd)) == json.dumps(odd, indent=1)
    assert "".join(written({"a": iter(())})) == '{\n "a": []\n}'


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("show", "--json"), ("export", "-f", "json"), ("export", "-o", "big.json")]
)
def test_a_hundred_thousand_estimates_take_no_more_memory_than_a_few(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    run = stored(tmp_path / "store")
    with closing(sqlite3.connect(run.db)) as db:
        db.execute("CREATE TEMP TABLE n AS WITH RECURSIVE t(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM t"
                   f" WHERE k < {TIMES}) SELECT k FROM t")  # fmt: skip
        for table in ("estimate", "observation", "finding"):
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            moved = {
                "id": "id + k * 1000000" if table != "finding" else "id || k",
                "estimate": "estimate + k * 1000000",
                "input": "input + k * 1000",
            }
            shown = ", ".join(moved.get(name, name) for name in names)
            db.execute(f"INSERT INTO {table} SELECT {shown} FROM {table}, n")
        (count,) = db.execute("SELECT count(*) FROM estimate").fetchone()
        db.commit()
    assert count > 100_000
    told = subprocess.run(
        [sys.executable, "-P", "-c", ASK, "--store", str(tmp_path / "store"), words[0], run.id, *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    code, taken = told.stderr.split()[-2:]
    text = (tmp_path / "big.json").read_text() if "-o" in words else told.stdout
    assert int(code) == 0
    assert len(json.loads(text)["estimates"]) == count
    assert int(taken) <= MOST
