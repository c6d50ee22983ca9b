"""`runs`, `cancel`, `pause`, `resume`, `judge`, `replay`: the list of runs, and what can be asked of one."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from falsefloor.cli.terminal import (
    AsJson,
    RunName,
    Trust,
    find,
    in_store,
    say,
    show,
    show_document,
    show_text,
)
from falsefloor.errors import FalsefloorError, StoreError, UsageError

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir

listing = typer.Typer(help="List the runs, or clean up with `gc`.", invoke_without_command=True)


@listing.callback()
def runs(
    ctx: typer.Context,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(help="How many, newest first; 0 for all.", min=0)] = 30,
) -> None:
    """List the runs, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from falsefloor.store.run_dir import list_dirs

    found = list_dirs(ctx.obj)
    rows = [_row(run) for run in (found[:limit] if limit else found)]
    if as_json:
        show_document(
            {"schema": "falsefloor.runs/1", "store": str(ctx.obj), "total": len(found), "runs": rows}
        )
        return
    if not rows:
        say(f"no runs in {ctx.obj} yet; start one: falsefloor demo")
        return
    from falsefloor.report.listings import runs_table

    show(runs_table(rows))
    if len(found) > len(rows):
        say(f"{len(found) - len(rows)} older runs: falsefloor runs --limit 0")


@listing.command("gc")
def collect(
    ctx: typer.Context,
    older: Annotated[float, typer.Option(metavar="DAYS", help="Only runs that started before.", min=0)] = 30,
    keep: Annotated[int, typer.Option(metavar="N", help="Always keep the newest N.", min=0)] = 10,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete; without it they are only listed.")
    ] = False,
) -> None:
    """Delete old runs. Tagged runs and runs that are being computed are always kept.

    A run's own files are deleted and named; a folder that holds anything else is kept.
    """
    from falsefloor.store.received import contents
    from falsefloor.store.run_dir import list_dirs

    before = time.time() - older * 86400
    doomed = []
    for run in list_dirs(ctx.obj)[keep:]:
        row = _row(run)
        # One that is damaged has no date of its own but its folder's.
        if (row["born"] or run.born()) < before and not row["tag"] and not run.is_alive():
            try:
                doomed.append((run, row, contents(run.path)))
            except StoreError as error:
                say(f"kept: {error}")
    freed = 0
    for run, row, files in doomed:
        if yes:
            run.delete()
        size = sum(files.values())
        freed += size
        verb, when = "deleted" if yes else "would delete", row["started"] or "unknown date"
        say(f"{verb} {run.id}, {row['status']}, of {when}, {size / 1e6:.1f} MB: {', '.join(files)}")
    if doomed:
        say(f"{len(doomed)} runs, {freed / 1e6:.1f} MB")
    if not doomed:
        say(f"nothing to delete: no untagged run beyond the newest {keep} is older than {older:g} days")
    elif not yes:
        say(f"delete them: falsefloor runs gc --older {older:g} --keep {keep} --yes{in_store(ctx)}")


def cancel(ctx: typer.Context, run: RunName) -> None:
    """Stop a run after what it has stored; `resume` goes on from there."""
    _ask(find(ctx, run), "cancel", "will be cancelled")


def pause(ctx: typer.Context, run: RunName) -> None:
    """Let the units under way end and start no others, until `resume`."""
    _ask(find(ctx, run), "pause", "pauses after the units under way")


def resume(
    ctx: typer.Context,
    run: RunName,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was paused, cancelled or lost; failed units are tried again.

    Nothing that is stored is computed again. If the model or its inputs changed, it says what and stops.
    A run that this account did not start runs no code of its own without --trust.
    """
    from falsefloor.cli.ending import leave
    from falsefloor.cli.run import conclude
    from falsefloor.store.reader import RunReader
    from falsefloor.store.trust import code_of
    from falsefloor.worker.launch import resume as go_on

    found = find(ctx, run)
    with RunReader(found) as reader:
        code = code_of(reader)
    if code.names and (code.ours or trust):
        say(f"note: this runs {code.told()}")
    waiting = go_on(found, trust=trust)
    if waiting is None:
        say(f"run {found.id} is done: nothing to do")
    else:
        say(f"run {found.id} goes on" + (f" with {waiting} units" if waiting else ""))
    if detach:
        return
    leave(conclude(found, as_json=as_json))


def judge(ctx: typer.Context, run: RunName, as_json: AsJson = False) -> None:
    """Judge a stored run again with the checks of this version, and print it. Computes nothing."""
    from falsefloor.cli.show import print_run
    from falsefloor.plugins.judging import RunJudge
    from falsefloor.store.reader import readable
    from falsefloor.store.writer import RunWriter

    found = find(ctx, run)
    if found.is_alive():
        raise UsageError(f"run {found.id} is being computed and judged; wait: falsefloor watch {found.id}")
    before = _counts(found)
    with readable(found), closing(RunWriter(found.db, RunJudge())) as writer:
        writer.judge_all()
    after = _counts(found)
    changes = [f"{v} {before.get(v, 0)} > {after.get(v, 0)}" for v in sorted({*before, *after})]
    say("no verdict changed" if before == after else f"verdicts: {', '.join(changes)}")
    print_run(found, as_json=as_json)


def replay(
    ctx: typer.Context,
    run: RunName,
    finding: Annotated[
        str, typer.Argument(metavar="FINDING", help="The beginning of a warning's id, or its code: FF201.")
    ],
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a warning's witness again, from the model and the run directory, and print what it shows.

    Exit code 1 where it does not replay. The model is loaded in a process of its own; of a run that this
    account did not start no code is run without --trust.
    """
    from falsefloor.plugins.process import ask
    from falsefloor.report.refutations import replayed
    from falsefloor.report.text import clean
    from falsefloor.store.trust import check_trust

    found = find(ctx, run)
    if not trust:
        check_trust(found, f"falsefloor replay {found.id} {finding}")
    request = {"run": str(found.path.resolve()), "finding": finding}
    (answer,) = ask("falsefloor.engine.replay", request, doing=f"replaying {finding}")
    if as_json:
        show_document({"schema": "falsefloor.replay/1", "run": found.id, **answer})
    else:
        show_text("\n".join(map(clean, replayed(answer))))
    if not answer["replays"]:
        raise typer.Exit(1)


def _counts(run: RunDir) -> dict[str, int]:
    from falsefloor.store.reader import reading

    with reading(run) as reader:
        reader.series()
        return dict(reader.info().counts)


def _ask(run: RunDir, command: str, then: str) -> None:
    if not run.is_alive():
        status = _row(run)["status"]
        raise UsageError(f"run {run.id} is not being computed (it is {status}); nothing to {command}.")
    run.command(command)
    say(f"run {run.id} {then}; see falsefloor watch {run.id}")


def _row(run: RunDir) -> dict[str, Any]:
    """One run of the list; a run that cannot be read is a row that says so."""
    from falsefloor.store.reader import reading

    try:
        with reading(run) as reader:
            info = reader.info()
            subjects = [(s.model, s.masker, s.norm) for s in reader.series()]
    except FalsefloorError as error:
        empty: dict[str, Any] = {
            "started": None,
            "born": 0.0,
            "seconds": None,
            "tag": "",
            "models": [],
            "subjects": 0,
        }
        return {"id": run.id, "status": "unreadable", **empty, "counts": {}, "units": {}, "error": str(error)}
    return {
        "id": info.id,
        "status": info.status,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.started)),
        "born": info.started,
        "seconds": round(info.seconds, 3),
        "tag": info.tag,
        "models": list(dict.fromkeys(model for model, _, _ in subjects)),
        "subjects": len(set(subjects)),
        "counts": dict(info.counts),
        "units": info.units(),
        "error": info.error,
    }
