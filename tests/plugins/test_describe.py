"""Whatever a plugin does when it is imported becomes a row with its reason, and the others get theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from plugin_site import GOOD, Install

from falsefloor.plugins import Described, discover
from falsefloor.plugins.describe import describe

pytestmark = pytest.mark.usefixtures("warm")


def describe_strangers(*, limit: float | None = None) -> Mapping[str, Described]:
    rows = describe((plugin for plugin in discover() if not plugin.own), limit=limit)
    return {row.dist: row for row in rows}


def test_a_healthy_plugin_says_what_it_is(install: Install) -> None:
    install("good")
    row = describe_strangers()["good"]
    assert (row.status, row.reason) == ("healthy", "")
    assert (row.claim, row.norms) == ("lower_estimate", ("l2", "linf"))
    assert row.summary == "The same radius for every input."
    assert [option.name for option in row.options] == ["value"]
    assert "good" not in sys.modules


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "exits": ("import sys; sys.exit(3)", "sys.exit(3)"),
    "needs": ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
    "lacks": ("x = 1", "Constant"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "syntax": ("def (", "SyntaxError"),
    "unversioned": (GOOD.replace("    api_version: ClassVar[int] = 1\n", ""), "api_version"),
    "claimless": (GOOD.replace('"lower_estimate"', '"certified"'), "claim"),
    "normless": (GOOD.replace('("linf", "l2")', '("linf", "l7")'), "l7"),
    "silent": (GOOD.replace("def __call__", "def run"), "__call__"),
    "misshapen": (GOOD.replace(", norm, context", ", norm"), "context"),
    "defaultless": (GOOD.replace(' = option(0.5, help="the radius", gt=0)', ""), "no default"),
    "absurd": (GOOD.replace("option(0.5", "option(-0.5"), "above 0"),
    "listed": (GOOD.replace("value: float", "value: list[float]"), "not supported"),
    "instance": (GOOD + "\nConstant = Constant()\n", "must be a class"),
    "verbose": (GOOD.replace('"the radius"', '"x" * 300_000'), "more than"),
}


def test_every_way_to_be_broken_is_a_row_with_its_reason(install: Install) -> None:
    for dist, (source, _) in BROKEN.items():
        install(dist, source)
    install("zebra")
    rows = describe_strangers()
    for dist, (_, reason) in BROKEN.items():
        assert (rows[dist].status, reason in rows[dist].reason) == ("broken", True), rows[dist]
    assert rows["zebra"].status == "healthy"
    assert "no licence" in rows["raises"].traceback


def test_a_plugin_for_another_version_of_the_contract_is_incompatible(install: Install) -> None:
    install("later", GOOD.replace("[int] = 1", "[int] = 2"))
    row = describe_strangers()["later"]
    assert row.status == "incompatible"
    assert "upgrade falsefloor" in row.reason


def test_a_crash_of_the_interpreter_is_blamed_on_its_cause_alone(install: Install) -> None:
    install("before")
    install("crash", "import ctypes; ctypes.string_at(0)")
    install("quits", "import os; os._exit(7)")
    install("zebra")
    rows = describe_strangers()
    assert "SIGSEGV" in rows["crash"].reason
    assert "string_at" in rows["crash"].traceback
    assert "status 7" in rows["quits"].reason
    assert {rows[dist].status for dist in ("crash", "quits")} == {"broken"}
    assert {rows[dist].status for dist in ("before", "zebra")} == {"healthy"}


def test_an_error_that_a_plugin_writes_where_answers_go_is_its_own(install: Install) -> None:
    forged = b'{"error": "all is lost", "exit_code": 4}\n'
    source = f"""
import contextlib, os
for number in range(3, 40):
    with contextlib.suppress(OSError):
        os.write(number, {forged!r})
"""
    install("forger", source + GOOD)
    install("zebra")
    rows = describe_strangers()
    assert (rows["forger"].status, rows["zebra"].status) == ("broken", "healthy")


def test_a_plugin_is_not_blamed_for_a_thread_that_another_left_running(install: Install) -> None:
    bomb = "import os, threading\nthreading.Timer(0.2, lambda: os._exit(9)).start()\n"
    install("bomb", bomb + GOOD)
    install("slow", "import time; time.sleep(0.6)\n" + GOOD)
    assert describe_strangers()["slow"].status == "healthy"


def test_a_hang_is_stopped_at_its_time_limit_with_all_it_started(install: Install, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(note)!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    install("hang", source)
    install("zebra")
    start = time.monotonic()
    rows = describe_strangers(limit=1.0)
    assert time.monotonic() - start < 10
    assert rows["hang"].status == "timed out"
    assert rows["zebra"].status == "healthy"
    assert _ends(int(note.read_text()))


def test_what_a_plugin_prints_does_not_reach_our_stdout(
    install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("chatty", "import os\nprint('hello')\nos.write(1, b'there')\n" + GOOD)
    row = describe_strangers()["chatty"]
    assert row.status == "healthy"
    assert "prints 11 bytes to stdout" in row.reason
    assert capfd.readouterr().out == ""


def test_control_characters_of_a_stranger_never_reach_the_terminal(install: Install) -> None:
    install("painter", GOOD.replace("The same", "\\x1b[2J\\x1b]0;owned\\x07"))
    install("thrower", "raise RuntimeError('\\x1b[2J')")
    rows = describe_strangers()
    text = rows["painter"].summary + rows["thrower"].reason + rows["thrower"].traceback
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


def test_a_name_that_no_study_can_write_is_broken(install: Install) -> None:
    install("spacey", estimators={"a b": "spacey:Constant"})
    assert "cannot be written" in describe_strangers()["spacey"].reason


@pytest.mark.usefixtures("cold")
def test_a_file_in_the_working_directory_is_not_imported_in_a_plugins_place(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("honest", "import colorsys\n" + GOOD)
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert describe_strangers()["honest"].status == "healthy"


def test_the_describing_child_ends_when_its_parent_is_killed(install: Install, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    write = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid()))\n"
    install("lasting", write + "time.sleep(600)\n")
    code = "from falsefloor.plugins import discover\nfrom falsefloor.plugins.describe import describe\n"
    code += "describe(p for p in discover() if not p.own)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        deadline = time.monotonic() + 20
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        parent.kill()
    assert _ends(int(note.read_text()))


def _ends(pid: int) -> bool:
    """Whether a process ends, or is left as a zombie that no longer computes, within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        if not found.stdout.strip() or found.stdout.strip().startswith("Z"):
            return True
        time.sleep(0.05)
    return False
