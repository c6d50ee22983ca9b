"""`diagnose`: one command for somebody else's model, or for a run that is stored."""

from __future__ import annotations

import enum
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.ending import ending, leave
from falsefloor.cli.studies import NormNames, build_study, compute, with_settings
from falsefloor.cli.terminal import AsJson, say, show, show_document, show_text, stored

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir


class Format(enum.StrEnum):
    """What a checklist is printed as."""

    text = "text"
    md = "md"
    tex = "tex"


@with_settings(
    *("inputs", "seed", "device", "bounds", "scale", "step", "immutable", "mean", "std", "output"),
    *("average", "at", "multilabel"),
)
def diagnose(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL|RUN", help="digits:mlp, python:net.py:build, export:net.pt2.")
    ],
    masker: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Maskers to put on it first, to try this out.")
    ] = None,
    norm: NormNames = None,
    checklist: Annotated[
        bool, typer.Option("--checklist", help="What a reviewer asks of an evaluation (Carlini et al. 2019).")
    ] = False,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="Of the checklist, for an appendix.")
    ] = Format.text,
    as_json: AsJson = False,
    **settings: str | bool | None,
) -> None:
    """Say whether a model hides its gradient, where, and what its floor is without that.

    Observes the model, locates what hides the gradient, estimates the steps of
    hidden quantisers, repairs the gradient and estimates again; the run is kept.
    Of a stored run it says what was measured there. For example:

    falsefloor diagnose digits:mlp --inputs digits:0-4 --masker staircase:c=255
    """
    from falsefloor.report.checklist import MORE

    form = format_ if checklist else None
    if (found := stored(ctx, model, {**settings, "masker": masker, "norm": norm})) is not None:
        _tell(found, form, as_json=as_json)
        return
    study = build_study(
        None,
        models=[model],
        maskers=masker or ["none"],
        estimators=["clever", "finite-difference", "attack", *([MORE] if checklist else [])],
        norms=norm or (),
        tag="diagnose",
        **settings,
    )
    run, interrupted = compute(ctx, study)
    _tell(run, form, as_json=as_json)
    leave(ending(run, interrupted=interrupted))


def _tell(run: RunDir, form: Format | None, *, as_json: bool) -> None:
    """What a run says of its models; form: as the checklist, in this form."""
    from falsefloor.report.checklist import read_checklists
    from falsefloor.report.diagnosis import DiagnosisPage
    from falsefloor.report.diagnosis import diagnose as read
    from falsefloor.store.reader import RunReader

    with RunReader(run) as reader:
        error = reader.info().error
        lists = read_checklists(reader) if form else []
        found = [] if form else read(reader)
    if error:
        say(f"error: {error}")
    if as_json:
        name = "checklist" if form else "diagnosis"
        document = {"schema": f"falsefloor.{name}/1", "run": run.id, "error": error}
        subjects = [asdict(one) for one in lists] or [asdict(one) for one in found]
        show_document({**document, "subjects": subjects})
        return
    for one in found:
        show(DiagnosisPage(one, run.id))
    for each in lists:
        if form is Format.text:
            show(each)
        else:
            table = each.tabular()
            show_text(table.markdown() if form is Format.md else table.latex())
