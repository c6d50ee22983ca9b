"""`diagnose`: one command for somebody else's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.ending import Ending, ending, leave, refuse_unplanned
from falsefloor.cli.settings import NormNames, with_settings
from falsefloor.cli.terminal import AsJson, say, show, show_document

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir


@with_settings("inputs", "seed", "device", "bounds", "scale", "step", "immutable", "mean", "std", "output")
def diagnose(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="digits:mlp, python:net.py:build, export:net.pt2.")
    ],
    masker: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Maskers to put on it first, to try this out.")
    ] = None,
    norm: NormNames = None,
    as_json: AsJson = False,
    **settings: str | bool | None,
) -> None:
    """Say whether a model hides its gradient, where, and what its floor is without that.

    Observes the model, locates what hides the gradient, estimates the steps of
    hidden quantisers, repairs the gradient and estimates again; the run is kept.
    For example:

    falsefloor diagnose digits:mlp --inputs digits:0-4 --masker staircase:c=255
    """
    from falsefloor.cli.studies import build_study
    from falsefloor.worker.launch import start

    study = build_study(
        None,
        models=[model],
        maskers=masker or ["none"],
        estimators=["clever", "finite-difference", "attack"],
        norms=norm or (),
        tag="diagnose",
        **settings,
    )
    if model.startswith("python:"):
        say(f"note: {model} runs the code of that file")
    run, said = start(study, ctx.obj)
    for line in said:
        say(f"note: {line}")
    leave(conclude(run, as_json=as_json))


def conclude(run: RunDir, *, as_json: bool) -> Ending:
    """Follow a run to its end, print what it says of its models, and return how the command ends."""
    from falsefloor.cli.follow import follow
    from falsefloor.jsonable import finite
    from falsefloor.report.diagnosis import diagnose as read
    from falsefloor.report.diagnosis_page import DiagnosisPage
    from falsefloor.store.reader import RunReader

    interrupted = follow(run, owner=True, named=False)
    refuse_unplanned(run)
    with RunReader(run) as reader:
        found, error = read(reader), reader.info().error
    if error:
        say(f"error: {error}")
    if as_json:
        document = {"schema": "falsefloor.diagnosis/1", "run": run.id, "error": error}
        show_document({**document, "subjects": [finite(one.to_json()) for one in found]})
    else:
        for one in found:
            show(DiagnosisPage(one, run.id))
    return ending(run, interrupted=interrupted)
