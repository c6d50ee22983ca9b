"""`run`, `demo`, `tui` and `reproduce`: what starts something."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.ending import Ending, ending, leave, refuse_unplanned, wait_planned
from falsefloor.cli.studies import BEHAVIOUR, NormNames, begin, build_study, with_settings
from falsefloor.cli.terminal import AsJson, complete_run, find, interactive, say, show_document, show_text
from falsefloor.errors import UsageError

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir

OUTPUT = "What comes out"
FIGURES = Path("falsefloor-figures")


class FailOn(enum.StrEnum):
    """The verdict that makes a run fail; the worse one always does."""

    refuted = "refuted"
    suspect = "suspect"


@with_settings()
def run(
    ctx: typer.Context,
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY.toml", help="A study file; flags replace its keys.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="REF",
            help="digits:mlp, python:net.py:build, export:net.pt2; repeatable.",
        ),
    ] = None,
    masker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC", help="staircase:c=255, or several joined by +; repeatable. Default: none."
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            "--estimator",
            "-e",
            metavar="SPEC",
            help="clever:samples=100; repeatable. Default: clever, finite-difference, attack.",
        ),
    ] = None,
    norm: NormNames = None,
    on: Annotated[
        str,
        typer.Option(metavar="EXECUTOR", help="local, dask, or dask:ADDRESS.", rich_help_panel=BEHAVIOUR),
    ] = "local",
    reuse: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Take over what is unchanged from this run.",
            rich_help_panel=BEHAVIOUR,
            autocompletion=complete_run,
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the run's id and return.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: AsJson = False,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit with 3 if any estimate is so or worse, or none was judged.", rich_help_panel=OUTPUT
        ),
    ] = None,
    **settings: str | bool | None,
) -> None:
    """Judge models: compose, estimate, check, and print what stands.

    It goes on if the terminal goes away; Ctrl-C cancels it, twice kills it.
    For example:

    falsefloor run --model digits:mlp --masker staircase:c=255 --inputs digits:0-9
    """
    built = build_study(
        study,
        models=model or (),
        maskers=masker or (),
        estimators=estimator or (),
        norms=norm or (),
        **settings,
    )
    started = begin(ctx, built, on=on, reuse=reuse)
    if detach:
        wait_planned(started)
        refuse_unplanned(started)
        if as_json:
            show_document({"schema": "falsefloor.started/1", "id": started.id, "path": str(started.path)})
        else:
            show_text(started.id)
            say(f"follow it: falsefloor watch {started.id}")
        return
    leave(conclude(started, as_json=as_json, fail_on=fail_on.value if fail_on else None, fresh=True))


def demo(
    ctx: typer.Context,
    seed: Annotated[int, typer.Option(help="Another seed, other sample points.")] = 0,
    table: Annotated[bool, typer.Option("--table", help="The table, also on a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """See CLEVER fooled: a digits model behind six masks and behind none, each number checked.

    Opens the app on that run; prints the table where there is no terminal. Takes about a minute.
    """
    from falsefloor.study.demo import STORY, demo_study

    started = begin(ctx, demo_study(seed=seed))
    say(f"run {started.id}")
    for line in STORY:
        say(line)
    if interactive() and not table and not as_json:
        leave(_app(ctx, started.id))
    else:
        leave(conclude(started, as_json=as_json))


def tui(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run to open.", autocompletion=complete_run),
    ] = None,
) -> None:
    """Open the app: compare, look into every number, start studies. Quitting it stops no run."""
    leave(_app(ctx, run))


def reproduce(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go; made if missing.")
    ] = FIGURES,
    as_json: AsJson = False,
) -> None:
    """Measure the note's figures again: data as CSV, pictures as SVG and PNG.

    CLEVER against exact distances, without and behind a staircase; the
    staircase and its ramp (Figure 1); the two regimes of a ramp against N·D·δ
    with a prediction; the sigmoid's underflow; what casts do to a model's
    slopes; noisy and misdirected gradients. Prints the files it wrote.
    Pictures need matplotlib: pip install "falsefloor[report]".
    """
    from falsefloor.plugins.process import ask
    from falsefloor.report.figures import draw
    from falsefloor.report.paint_plot import drawable

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a directory for the figures: --out DIR")
    pictures = drawable()
    written: list[Path] = []
    for answer in ask("falsefloor.engine.reproduce", {"folder": str(out)}, doing="measuring the figures"):
        table = Path(answer["table"])
        written += [table, *(draw(table) if pictures else [])]
        say(f"{table.stem} done")
    if not pictures:
        say('no pictures: matplotlib is not installed; pip install "falsefloor[report]"')
    if as_json:
        files = [str(path) for path in written]
        show_document({"schema": "falsefloor.figures/1", "directory": str(out), "files": files})
    else:
        for path in written:
            show_text(str(path))


def conclude(run: RunDir, *, as_json: bool, fail_on: str | None = None, fresh: bool = False) -> Ending:
    """Follow a run that was started here, print it, and say how the command ends.

    fresh: it was made by this command, and is deleted where nothing of it could be planned.
    """
    from falsefloor.cli.follow import follow
    from falsefloor.cli.show import print_run

    interrupted = follow(run, owner=True, named=not fresh)
    if fresh:
        refuse_unplanned(run)
    print_run(run, as_json=as_json)
    return ending(run, interrupted=interrupted, fail_on=fail_on)


def _app(ctx: typer.Context, run: str | None) -> Ending:
    from falsefloor.tui.start import run_app

    return Ending(run_app(ctx.obj, None if run is None else find(ctx, run).id))
