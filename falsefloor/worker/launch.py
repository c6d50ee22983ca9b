"""Starts runs: checks a study against what is installed, makes its directory, sets the supervisor going."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from falsefloor import __version__
from falsefloor.errors import StoreError, UsageError, WorkerError, did_you_mean
from falsefloor.models.refs import kind_of_file, look, meant
from falsefloor.plugins import Catalogue, catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.received import delete, make_file, open_regular, take_orders
from falsefloor.store.run_dir import (
    RunDir,
    create_run,
    filesystem,
    hold_room,
    is_network,
    private_or_shared,
    starting,
    take_lock,
)
from falsefloor.store.standing import ENDED, RunInfo
from falsefloor.store.trust import check_trust, seal
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from, write_study
from falsefloor.study.grammar import split_ref
from falsefloor.study.study import Study
from falsefloor.study.units import Series, series_of

START_LIMIT = 30.0
"""Seconds within which a supervisor takes its lock."""
EXECUTORS = ("local", "dask")
LEAVING = 10.0
"""Seconds that a worker whose run has ended may take to go."""
_STARTED: list[subprocess.Popen[bytes]] = []
"""Kept so that ended ones are reaped: a supervisor outlives whoever started it, not the other way round."""


def check(study: Study) -> tuple[list[Series], list[str]]:
    """What a study computes, and what to tell the user.

    Everything that can be known without loading a model is checked here: names, parameters, ranges. Raises
    `UsageError` and `PluginError`.
    """
    _ = study.memory_bytes, study.witness_bytes
    installed = catalogue()
    for kind, ref in [*(("model", model.use) for model in study.models), ("input", study.inputs)]:
        if ref:
            find_ref(installed, kind, ref)
    series = series_of(study, installed)
    added = dict.fromkeys(one.label for one in series if not one.asked)
    return series, [
        f"added the estimator {name}: without it nothing might be refuted (--no-ceiling)" for name in added
    ]


def find_ref(installed: Catalogue, kind: str, ref: str) -> None:
    """Raises `UsageError` for a reference that nothing can load, with the one that was meant."""
    try:
        scheme, rest = split_ref(ref)
        found = installed.find(kind, scheme)
    except UsageError as error:
        said = "Did you mean" in str(error) or str(error).endswith(kind_of_file(ref) or "\n")
        raise UsageError(str(error) if said else f"{error} {meant(kind, ref)}".strip()) from error
    if found.plugin.own:
        look(kind, found.name, rest)


def start(
    study: Study, root: Path, *, reuse: RunDir | None = None, on: str = "local"
) -> tuple[RunDir, list[str]]:
    """Check a study, store it as a new run and set its supervisor going. Returns the run and what to say.

    reuse: a run whose units are taken over where nothing that decides them changed. on: what computes:
    "local", "dask" (workers of this machine) or "dask:ADDRESS" (a running scheduler).
    """
    _, said = check(study)
    if on.partition(":")[0] not in EXECUTORS:
        raise UsageError(f"no executor {on!r}. {did_you_mean(on, EXECUTORS)} dask takes :ADDRESS.")
    run = create_run(root)
    with ExitStack() as held:
        try:
            held.enter_context(starting(run))
            _write(run, study, reuse, on)
        except (OSError, StoreError):
            delete(run.path, half_made=True)  # it would only be in the way
            raise
        if is_network(run.path):
            said.append(
                f"{root} is on a network file system ({filesystem(run.path)}): slower, and viewers on other"
                " hosts may see it late. Better a local disk: --store DIR"
            )
        launch(run)
    return run, said


def _write(run: RunDir, study: Study, reuse: RunDir | None, on: str) -> None:
    try:
        hold_room(run)
        make_file(run.study, mode=private_or_shared(run.path)[1])
        with os.fdopen(open_regular(run.study, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(write_study(study))
    except OSError as error:
        raise StoreError(f"cannot write {error.filename or run.study}: {error.strerror or error}.") from error
    writer = RunWriter(run.db, RunJudge())
    decides = {
        "study": study.to_json(),
        "cwd": str(Path.cwd()),
        "on": on,
        "reuse": str(reuse.path.resolve()) if reuse else None,
    }
    writer.set_meta(
        id=run.id,
        status="queued",
        created=time.time(),
        seed=study.seed,
        tag=study.tag,
        device=study.device,
        versions={"falsefloor": __version__},
        seal=seal(decides),
        **decides,
    )
    writer.close()


def launch(run: RunDir) -> None:
    """A detached supervisor for this run; returns once it holds the lock. Raises `WorkerError`."""
    with RunReader(run) as reader:
        cwd = Path(str(reader.meta().get("cwd", ".")))
    try:
        make_file(run.log, mode=private_or_shared(run.path)[1])
        log = os.fdopen(open_regular(run.log, os.O_WRONLY | os.O_APPEND), "ab")
    except OSError as error:
        raise StoreError(f"cannot write {run.log}: {error.strerror or error}.") from error
    with log:
        process = subprocess.Popen(
            # -P: nothing is imported from the folder where the run began, whose word a received run is
            [sys.executable, "-P", "-m", "falsefloor.worker.supervisor", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=cwd if cwd.is_dir() else None,  # references to files are relative to where it began
        )
    _STARTED[:] = [*(p for p in _STARTED if p.poll() is None), process]
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if run.is_alive():
            return
        if process.poll() is not None:
            if _info(run).status in ("done", "cancelled", "failed"):
                return
            raise WorkerError(f"the worker of run {run.id} ended at once; see {run.log}")
        time.sleep(0.02)
    raise WorkerError(f"the worker of run {run.id} did not start within {START_LIMIT:.0f} s; see {run.log}")


def _info(run: RunDir) -> RunInfo:
    with RunReader(run) as reader:
        return reader.info()


def resume(run: RunDir, *, retry: Sequence[str] = ("failed", "cancelled"), trust: bool = False) -> int | None:
    """Go on with a run that was lost, cancelled or paused; failed units are tried again.

    Returns how many units are still to be computed, as far as they are planned; None where everything is
    done, and nothing is touched. Raises `StoreError` where the run is being computed or started, and
    `UsageError` where it would run code that this account did not ask for; trust: it may.
    """
    with starting(run):
        deadline = time.monotonic() + LEAVING
        while run.is_alive():
            info = _info(run)
            if info.status == "paused":
                run.command("resume")
                return info.units_total - info.units_ended
            if info.status not in ENDED or time.monotonic() > deadline:
                raise StoreError(f"run {run.id} is being computed; watch it: falsefloor watch {run.id}")
            time.sleep(0.02)
        info = _info(run)
        if info.status == "done" and not any(info.units()[status] for status in retry):
            return None
        if not trust:
            check_trust(run, f"falsefloor resume {run.id}")
        waiting = _requeue(run, retry, worked=info.seconds)
        launch(run)
        return waiting


def _requeue(run: RunDir, retry: Sequence[str], *, worked: float) -> int:
    # Held while the queue is made, so that nobody computes half of it.
    with take_lock(run), closing(RunWriter(run.db, RunJudge())) as writer:
        meta = writer.meta()
        study_from(meta.get("study", {}))
        writer.requeue((*retry, "running"))
        waiting = len(writer.queued())
        take_orders(run.path)
        now = time.time()
        again = {"status": "queued", "created": now, "resumed": now, "worked": worked, "seal": seal(meta)}
        writer.set_meta(**again, ended=None, error=None, exit_code=0)
    return waiting
