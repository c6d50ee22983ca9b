"""Study files and run directories full of nonsense: a message and exit code 2, never a traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falsefloor.cli.app import run_command
from falsefloor.store.run_dir import RunDir

DATA = Path(__file__).parents[2] / "data"
FEW = settings(
    max_examples=25,
    deadline=None,
    # too_slow: a busy machine is no reason to fail
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
COMMANDS = (
    ("show",),
    ("show", "--json"),
    ("export", "--format", "csv"),
    ("export", "--format", "md"),
    ("export", "--format", "html", "--output", "-"),
)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunDir:
    monkeypatch.setenv("FALSEFLOOR_STORE", str(tmp_path / "store"))
    folder = tmp_path / "store" / "0a1b2c3d"
    folder.mkdir(parents=True)
    (folder / "study.toml").touch()
    with closing(sqlite3.connect(folder / "run.db")) as db:
        db.executescript((DATA / "run-schema-1.sql").read_text())
    return RunDir(folder)


def fresh(run: RunDir, data: bytes) -> None:
    for beside in run.path.glob("run.db-*"):
        beside.unlink()
    run.db.write_bytes(data)


def test_the_run_itself_is_fine(finished: RunDir) -> None:
    assert [run_command([*command[:1], finished.id, *command[1:]]) for command in COMMANDS] == [0] * 5


@pytest.mark.parametrize("stack", ["[1]", "[[]]", "[null]"])
def test_layers_that_are_none_are_told(
    finished: RunDir, stack: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(finished.db)) as db:
        db.execute("UPDATE series SET stack = ?", [stack])
        db.commit()
    for command in COMMANDS:
        assert run_command([*command[:1], finished.id, *command[1:]]) == 2
        assert "series.stack holds a value that no falsefloor wrote" in capfd.readouterr().err


def test_changed_bytes_of_a_run(finished: RunDir) -> None:
    whole = finished.db.read_bytes()

    @FEW
    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=40),
        st.integers(0, len(whole)),
        st.sampled_from(COMMANDS),
    )
    def broken(changes: list[tuple[int, int]], length: int, command: tuple[str, ...]) -> None:
        data = bytearray(whole)
        for at, value in changes:
            data[at] = value
        fresh(finished, bytes(data[:length] if length % 3 == 0 else data))
        assert run_command([command[0], finished.id, *command[1:]]) in (0, 2)

    broken()


COLUMNS = [
    ("meta", "value"), ("model", "facts"), ("model", "spec"), ("series", "stack"), ("series", "params"),
    ("series", "norm"), ("series", "claim"), ("series", "label"), ("series", "plugin"), ("unit", "status"),
    ("unit", "first"), ("estimate", "radius"), ("estimate", "evidence"), ("estimate", "verdict"),
    ("estimate", "curves"), ("estimate", "reason"), ("estimate", "low"), ("observation", "facts"),
    ("finding", "severity"), ("finding", "evidence"), ("finding", "witness"), ("array", "facts"),
    ("array", "shape"), ("tally", "count"), ("tally", "verdict"), ("event", "at"),
]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["[]", "{}", "null", "1e999", '"\\u001b[31m"', "[" * 2000, '{"distance": "far"}']),
)


def test_changed_values_of_a_run(finished: RunDir) -> None:
    whole = finished.db.read_bytes()

    @FEW
    @given(st.sampled_from(COLUMNS), VALUES, st.sampled_from(COMMANDS))
    def odd(place: tuple[str, str], value: object, command: tuple[str, ...]) -> None:
        fresh(finished, whole)
        table, column = place
        with closing(sqlite3.connect(finished.db)) as db:
            try:
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))
            except (sqlite3.IntegrityError, UnicodeEncodeError):
                return
            db.commit()
        assert run_command([command[0], finished.id, *command[1:]]) in (0, 2)

    odd()


JSON = [
    ("meta", "value"), ("model", "facts"), ("series", "stack"), ("series", "params"),
    ("estimate", "evidence"),
    ("estimate", "notes"), ("observation", "facts"), ("finding", "evidence"), ("array", "facts"),
]  # fmt: skip
INSIDE = st.sampled_from(
    [None, -1, 1e308, 2**80, "x", "nan", "\x1b[2J", "\ud800", [], {}, [1], {"a": 1}, True, [[["a"]]]]
)
LISTS = (*COMMANDS, ("watch",), ("judge",), ("compare", "last"), ("runs",), ("runs", "gc"))


def replaced(value: Any, steps: list[int], new: Any) -> Any:
    """The value with one inside it replaced, found by as many steps as lead anywhere."""
    inner = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    if not steps or not inner:
        return new
    name = sorted(inner, key=str)[steps[0] % len(inner)]
    made = {**inner, name: replaced(inner[name], steps[1:], new)}
    return made if isinstance(value, dict) else list(made.values())


def test_changed_values_inside_the_json_of_a_run(finished: RunDir) -> None:
    whole = finished.db.read_bytes()

    @FEW
    @given(
        st.sampled_from(JSON), st.integers(0, 10**6), st.lists(st.integers(0, 99), max_size=4), INSIDE,
        st.sampled_from(LISTS),
    )  # fmt: skip
    def odd(
        place: tuple[str, str], row: int, steps: list[int], new: object, command: tuple[str, ...]
    ) -> None:
        fresh(finished, whole)
        table, column = place
        with closing(sqlite3.connect(finished.db)) as db:
            texts = [text for (text,) in db.execute(f"SELECT {column} FROM {table}")]
            text = texts[row % len(texts)]
            changed = json.dumps(replaced(json.loads(text), steps, new))
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (changed, text))
            db.commit()
        words = command if command[0] == "runs" else (command[0], finished.id, *command[1:])
        assert run_command(words) in (0, 1, 2, 5)

    odd()


WORDS = st.sampled_from(
    [
        "seed",
        "norms",
        "models",
        "inputs",
        "maskers",
        "estimators",
        "use",
        "label",
        "stack",
        "at",
        "chunk",
        "=",
        "[",
        "]",
        "[[models]]",
        "{",
        "}",
        '"digits:mlp"',
        "'",
        '"',
        ",",
        "\n",
        "0",
        "-1",
        "1e999",
        "nan",
        "true",
        "staircase:c=255",
        "+",
        ":",
        "clever",
        "\x00",
        "é",
        "#",
        "..",
        "2024-01-01",
        "'''",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=30).map(" ".join))
KEYS = st.sampled_from(["seed", "norms", "inputs", "maskers", "estimators", "chunk", "device", "tag", "trap"])
TOML = st.sampled_from(
    [
        "0",
        "-1",
        "1e308",
        "nan",
        '""',
        '"x"',
        "[]",
        "[[]]",
        "{}",
        "true",
        "[1]",
        '["linf", "linf"]',
        "[{use = 1}]",
        '["clever:radius=-1"]',
        '["none+none"]',
        '[{use = "clever", samples = []}]',
        "2024-01-01",
        '["a" , 1]',
    ]
)  # fmt: skip


def test_study_files_of_nonsense(finished: RunDir, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"

    @FEW
    @given(st.one_of(TEXTS, st.dictionaries(KEYS, TOML, min_size=1).map(as_study)))
    def nonsense(text: str) -> None:
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        code = run_command(["run", str(file), "--detach", "--store", str(tmp_path / "file-in-the-way" / "x")])
        assert code == 2

    # Whatever is a study after all ends here, for nothing can be stored below a file.
    (tmp_path / "file-in-the-way").touch()
    nonsense()


def as_study(keys: dict[str, str]) -> str:
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join([*lines, 'models = ["digits:mlp"]'])


def test_a_directory_that_is_no_run(finished: RunDir, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run_command(["show", str(empty)]) == 2
    shutil.rmtree(finished.path / "commands", ignore_errors=True)
    (finished.path / "commands").touch()
    assert run_command(["cancel", finished.id]) == 2
    finished.db.unlink()
    assert run_command(["show", finished.id]) == 2
    finished.db.mkdir()
    assert run_command(["show", finished.id]) == 2
    assert run_command(["resume", finished.id]) == 2
