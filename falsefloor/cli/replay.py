"""`replay`: a finding's witness, evaluated again from the run directory."""

from __future__ import annotations

from typing import Annotated

import typer

from falsefloor.cli.terminal import AsJson, RunName, Trust, find, show_document, show_text


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
