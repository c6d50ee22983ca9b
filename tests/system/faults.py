"""A small run computed again and again in this process's forks, a call on its files failing in each.

`LD_PRELOAD=faults.so python faults.py FOLDER WHAT:KIND:FIRST:STEP…` prints a line of JSON for every call that
was made to fail: what was said, what was stored, what is shown, and whether resuming gives the same bits.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

from falsefloor.engine.context import ignore_progress
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.errors import FalsefloorError
from falsefloor.jsonable import finite, written
from falsefloor.store.files import copy_folder, damage, write_whole
from falsefloor.store.reader import RunReader
from falsefloor.store.records import UnitResult
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.units import canonical
from falsefloor.worker import launch, supervisor
from falsefloor.worker.executor import Event, Finished

KINDS = {"count": 0, "full": 1, "broken": 2, "interrupted": 3, "short": 4}
STUDY = study_from(
    {
        "models": ["digits:linear"],
        "inputs": "digits:0-1",
        "maskers": ["staircase:c=255"],
        "estimators": ["clever:batches=2,samples=4,radius=0.3", "finite-difference:samples=4,batches=2"],
        "ceiling": False,
        "chunk": 1,
        "recover": "on",
    }
)
_shim: Any = ctypes.CDLL(None)


def arm(folder: Path, call: int, kind: str) -> None:
    _shim.fault_arm(str(folder).encode(), ctypes.c_long(call), KINDS[kind])


class Known:
    """An executor that computes each unit once, and ever after remembers what came of it."""

    results: dict[str, UnitResult]
    session: Session
    stored: int = -1

    def __init__(self) -> None:
        self._queue: list[tuple[int, Any]] = []

    def prepare(self, model: Any, inputs: str, stacks: Any, **_: Any) -> dict[str, Any]:
        return self.session.ready(model, inputs, list(stacks)) | {"threads": 1, "versions": {}}

    @property
    def capacity(self) -> int:
        return 1 - len(self._queue)

    def submit(self, unit: int, spec: Any) -> None:
        self._queue.append((unit, spec))

    def events(self, _timeout: float) -> list[Event]:
        found: list[Event] = []
        for unit, spec in self._queue:
            key = canonical(spec)
            if key not in self.results:
                self.results[key] = run_unit(spec, self.session, ignore_progress)
            found.append(Finished(unit, self.results[key]))
        self._queue = []
        return found

    def cancel(self) -> None:
        self._queue = []

    def close(self) -> None:
        return


Known.results, Known.session = {}, Session()


def numbers(run: RunDir) -> list[Any]:
    with RunReader(run) as reader:
        found: list[Any] = [
            (e["name"], e["input"], e["radius"], e["verdict"], e["status"], str(e["evidence"]))
            for e in reader.estimates()
        ]
        return [*found, *((o["input"], str(finite(o["facts"]))) for o in reader.observations())]


def forked(act: Callable[[], int], said: Path) -> int:
    """What it returns in a fork; what it prints goes to a file."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = act()
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def computed(run: RunDir, done: Path, *, call: int, kind: str) -> int:
    """Supervise a run, this call failing; units that were said to be stored are noted in ``done``."""
    store, note = RunWriter.store_all, os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def noted(self: RunWriter, results: Any) -> Any:
        made = store(self, results)
        os.write(note, b"".join(b"\n%d\n" % unit for unit, _ in results))  # whole, cut short or not
        return made

    RunWriter.store_all = noted  # type: ignore[method-assign]
    arm(run.path, call, kind)
    code = supervisor.supervise(run)
    count = _shim.fault_count()
    arm(Path("/nowhere"), 0, "count")
    done.with_suffix(".count").write_text(str(count))
    return code


def attempted(act: Callable[[], object], place: Path, count: Path, *, call: int, kind: str) -> int:
    """The exit code of what is done while this call on files below ``place`` fails; how many there were."""
    arm(place, call, kind)
    try:
        act()
    except FalsefloorError as error:
        print(f"said: {error}")
        return error.exit_code
    finally:
        count.write_text(str(_shim.fault_count()))
        arm(Path("/nowhere"), 0, "count")
    return 0


def planned(root: Path) -> RunDir:
    made: list[RunDir] = []
    launch.launch = made.append  # type: ignore[assignment]
    return launch.start(STUDY, root)[0]


def runs(folder: Path, kind: str, calls: Iterator[int]) -> Iterator[dict[str, Any]]:
    supervisor._executor = lambda *_: Known()  # type: ignore[assignment,return-value]
    supervisor.end_below = lambda **_: None
    whole = planned(folder)
    done, log = folder / "done", folder / "said"
    if supervisor.supervise(whole):
        raise SystemExit("the run fails by itself")
    expected = numbers(whole)
    again = planned(folder)
    forked(lambda: computed(again, done, call=0, kind="count"), log)
    most = int(done.with_suffix(".count").read_text())
    assert numbers(again) == expected
    yield {"calls": most}
    for call in calls:
        if call > most:
            return
        run = planned(folder)
        done.write_text("")
        code = forked(lambda run=run, call=call: computed(run, done, call=call, kind=kind), run.log)  # type: ignore[misc]
        stored = {int(line) for line in done.read_text().split()}
        with RunReader(run) as reader:
            info = reader.info()
            kept = {u["id"] for u in reader.units() if u["status"] == "ok"}
        told: dict[str, Any] = {
            "call": call, "code": code, "status": info.status, "error": info.error,
            "lost": sorted(stored - kept), "damage": damage(run), "said": run.log.read_text()[-2000:],
        }  # fmt: skip
        if info.status == "done":
            told["same"] = numbers(run) == expected
        else:
            resumed = io.StringIO()
            with redirect_stderr(resumed):
                launch._requeue(run, ("failed", "cancelled"), worked=0.0)
            done.write_text("")
            told["again"] = forked(lambda run=run: computed(run, done, call=0, kind="count"), log)  # type: ignore[misc]
            told["same"] = numbers(run) == expected
        yield told
        shutil.rmtree(run.path)


def starts(folder: Path, kind: str, calls: Iterator[int]) -> Iterator[dict[str, Any]]:
    """A run made and written down: it is there as a whole, or said not to be and not there."""
    store = folder / "store"
    store.mkdir()

    def act(call: int, how: str) -> int:
        return attempted(lambda: planned(store), store, folder / "count", call=call, kind=how)

    forked(lambda: act(0, "count"), folder / "said")
    most = int((folder / "count").read_text())
    yield {"calls": most}
    for call in calls:
        if call > most:
            return
        shutil.rmtree(store)
        store.mkdir()
        code = forked(lambda call=call: act(call, kind), folder / "said")  # type: ignore[misc]
        left = sorted(entry.name for entry in store.iterdir())
        yield {"call": call, "code": code, "left": left, "said": (folder / "said").read_text()[-2000:]}


def exports(folder: Path, kind: str, calls: Iterator[int]) -> Iterator[dict[str, Any]]:
    """Copies and documents: all of it or nothing, and nothing beside it."""
    supervisor._executor = lambda *_: Known()  # type: ignore[assignment,return-value]
    run = planned(folder / "store")
    supervisor.supervise(run)
    place = folder / "out"
    place.mkdir()

    def written_out() -> None:
        copy_folder(run, place / "copy")
        with RunReader(run) as reader:
            write_whole(place / "run.json", written(reader.streamed()))

    def act(call: int, how: str) -> int:
        return attempted(written_out, place, folder / "count", call=call, kind=how)

    forked(lambda: act(0, "count"), folder / "said")
    most = int((folder / "count").read_text())
    whole = (place / "run.json").read_bytes()
    expected = numbers(run)
    yield {"calls": most}
    for call in calls:
        if call > most:
            return
        shutil.rmtree(place)
        place.mkdir()
        (place / "run.json").write_text("older")
        code = forked(lambda call=call: act(call, kind), folder / "said")  # type: ignore[misc]
        left = sorted(entry.name for entry in place.iterdir())
        yield {
            "call": call, "code": code, "left": left, "said": (folder / "said").read_text()[-2000:],
            "whole": (place / "run.json").read_bytes() in (whole, b"older"),
            "copied": "copy" not in left or numbers(RunDir(place / "copy")) == expected,
        }  # fmt: skip


if __name__ == "__main__":
    for wish in sys.argv[2:]:
        what, kind_, first, step = wish.split(":")
        place = Path(sys.argv[1], what)
        place.mkdir()
        each = iter(range(int(first), 10**6, int(step)))
        for line in {"runs": runs, "starts": starts, "exports": exports}[what](place, kind_, each):
            print(json.dumps({"what": what, **line}), flush=True)
