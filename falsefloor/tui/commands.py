"""What the app asks of runs and studies: blocking, so called from threads; all raise `FalsefloorError`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from falsefloor.errors import StoreError, UsageError, did_you_mean
from falsefloor.report.text import STYLES, Glyphs
from falsefloor.store.reader import reading
from falsefloor.store.received import read_regular
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.themes import Line

if TYPE_CHECKING:
    from falsefloor.study.study import Study
    from falsefloor.study.units import Series

# What writes, plans or reports is imported where it is used: the first paint waits for none of it.
LIVE = frozenset(("queued", "running", "paused"))
EXPORTS = {
    "json": "all estimates with their warnings, for programs",
    "csv": "one row an estimate, for spreadsheets",
    "md": "the table and its refutations, for a text",
    "tex": "the tables, for a paper",
    "methods": "how it was computed, in a paragraph",
    "bib": "what to cite",
    "html": "a page with pictures, for a browser",
    "run": "the run itself, a directory that others can open",
}


def study_of(run: RunDir) -> Study:
    """The study that a run was started with."""
    from falsefloor.study.file import study_from

    with reading(run) as reader:
        stored = reader.meta().get("study")
    return study_from(stored or {})


def export(run: RunDir, form: str, path: Path) -> Path:
    """Write a run to a file that does not exist yet. Returns its path."""
    from falsefloor.report.forms import text
    from falsefloor.store.files import copy_folder, write_whole

    path = path.expanduser()
    if os.path.lexists(path):
        raise StoreError(f"{path} exists already; name another file.")
    if form == "run":
        copy_folder(run, path)
    else:
        with reading(run) as reader:
            write_whole(path, text(reader, form))
    return path


def next_step(status: str, *, failed: bool) -> str:
    """What `pause_or_go_on` would do, in a word; empty where nothing."""
    steps = {"running": "Pause", "queued": "Pause", "paused": "Go on", "unreadable": ""}
    return steps.get(status, ("Retry" if failed else "") if status == "done" else "Resume")


def pause_or_go_on(run: RunDir, status: str) -> str:
    """Pause a running run, go on with a paused one, resume one that ended unfinished; says what was done."""
    from falsefloor.worker.launch import resume

    if status == "running":
        run.command("pause")
        return "Pausing: the units under way are finished first."
    if status == "queued":
        return "The run is about to start."
    waiting = resume(run)
    if waiting is None:
        return "Nothing is left to do: the run is done."
    return f"Going on with {waiting} units." if waiting and status != "paused" else "Going on."


def replay(run: RunDir, finding: str) -> tuple[bool, list[str]]:
    """Evaluate a warning's point again, in a process of its own: whether it replays, and what it shows."""
    from falsefloor.plugins.process import ask
    from falsefloor.report.refutations import replayed
    from falsefloor.store.trust import check_trust

    check_trust(run, f"falsefloor replay {run.id} {finding}")
    request = {"run": str(run.path.resolve()), "finding": finding}
    (answer,) = ask("falsefloor.engine.replay", request, doing=f"replaying {finding}", heard=False)
    return bool(answer["replays"]), replayed(answer)


def diagnosis(run: RunDir, *, width: int, glyphs: Glyphs) -> list[Line]:
    """What a run says of its models' gradients, in lines of a width."""
    from falsefloor.report.diagnosis import TITLE, DiagnosisPage, diagnose

    tones = {looks: word for word, looks in STYLES.items()} | {TITLE: "heading", "dim": "dim"}
    lines: list[Line] = []
    with reading(run) as reader:
        for one in diagnose(reader):
            for text in DiagnosisPage(one, run.id).lines(max(40, width), glyphs):
                lines.append((text.plain, tones.get(str(text.style), "")))
            lines.append(("", ""))
    return lines or [("This run has no estimates yet.", "")]


def codes_of(run: RunDir) -> dict[int, str]:
    """The codes of all warnings of each series, by its number."""
    found: dict[int, str] = {}
    with reading(run) as reader:
        for group in reader.finding_groups():
            found[group["series"]] = f"{found.get(group['series'], '')} {group['code']}"
    return found


def retag(run: RunDir, tag: str) -> str:
    """Give a run that is not being computed another tag."""
    from contextlib import closing

    from falsefloor.plugins.judging import RunJudge
    from falsefloor.store.run_dir import take_lock
    from falsefloor.store.writer import RunWriter

    if run.is_alive():
        raise StoreError(f"run {run.id} is being computed and writes itself; tag it when it has ended.")
    with take_lock(run), closing(RunWriter(run.db, RunJudge())) as writer:
        writer.set_meta(tag=tag)
    return f"Run {run.id} is tagged {tag}." if tag else f"Run {run.id} has no tag."


def cancel(run: RunDir) -> str:
    if not run.is_alive():
        raise StoreError(f"run {run.id} is not being computed; there is nothing to cancel.")
    run.command("cancel")
    return "Cancelling: what is finished stays."


def check(study: Study) -> tuple[list[Series], list[str]]:
    """What a study computes and what to tell, checked as far as it can be without loading a model.

    Raises `UsageError` for a file that is not there, a factory that its file has not, inputs that are no
    numbers.
    """
    from falsefloor.models.refs import existing_file, select
    from falsefloor.study.grammar import split_ref
    from falsefloor.tui.choices import factories
    from falsefloor.worker.launch import check

    checked = check(study)
    for use in (*(model.use for model in study.models), *([study.inputs] if study.inputs else ())):
        scheme, ref = split_ref(use)
        if scheme == "python" and ".py" in ref:
            place, _, factory = ref.partition(".py")
            file = existing_file(f"{place}.py", kind="Python file", form="python:FILE.py:factory")
            names = [one.label for one in factories(file)]
            if (asked := factory.removeprefix(":")) and asked not in file.read_text(errors="replace"):
                raise UsageError(f"{file} has no {asked!r}. {did_you_mean(asked, names)}")
        elif scheme in ("export", "npz"):
            existing_file(ref, kind="file", form=f"{scheme}:FILE")
        elif scheme == "images" and not Path(ref).expanduser().is_dir():
            raise UsageError(f"there is no folder {ref}; write images:FOLDER.")
        elif use == study.inputs and scheme == "digits":
            select(ref, count=10**9, what="inputs")
    return checked


def start(study: Study, root: Path, *, reuse: RunDir | None = None) -> tuple[RunDir, list[str]]:
    """Check a study and start it. Returns the run and what to tell the user."""
    from falsefloor.worker.launch import start as launch

    return launch(study, root, reuse=reuse) if reuse is not None else launch(study, root)


def demo() -> Study:
    from falsefloor.study.demo import demo_study

    return demo_study()


def diagnosing() -> Study:
    """What `falsefloor diagnose` computes, of the embedded model until another is chosen."""
    from falsefloor.study.study import ModelSpec, Study

    return Study(models=(ModelSpec("digits:mlp"),), inputs="digits:0-9", tag="diagnose")


def tail(path: Path, *, most: int = 200_000) -> str:
    """The end of a run's text file."""
    try:
        return read_regular(path, most=most).decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
