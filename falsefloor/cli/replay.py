"""`replay`: a finding's witness, evaluated again from the run directory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from falsefloor.cli.terminal import AsJson, RunName, Trust, find, show_document, show_text


def replay(
    ctx: typer.Context,
    run: RunName,
    finding: Annotated[
        str, typer.Argument(metavar="FINDING", help="The beginning of a warning's id, as in `show --json`.")
    ],
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a warning's witness again, from the model and the run directory, and print what it shows.

    Exit code 1 where it does not replay. The model is loaded in a process of its own; of a run that this
    account did not start no code is run without --trust.
    """
    from falsefloor.plugins.process import ask
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
        show_text("\n".join(map(clean, sentences(answer))))
    if not answer["replays"]:
        raise typer.Exit(1)


def sentences(answer: dict[str, Any]) -> list[str]:
    """What a replay shows, line by line."""
    planted = " with the planted class change" if answer["code"] == "FF205" else ""
    lines = [
        f"{answer['code']} on {answer['model']} · {answer['masker']} · {answer['norm']},"
        f" input {answer['input']} of class {answer['label']}{planted}",
        f"claimed by {answer['estimator']}: {_number(answer['claimed'])}",
    ]
    if answer["changed"]:
        lines.append(f"changed since the run: {', '.join(answer['changed'])}")
    if answer["kind"] == "pair":
        first, second = (_number(value) for value in answer["margins"])
        lines.append(
            f"two points at a distance of {_number(answer['distance'])}: the margin is {first} at one and"
            f" {second} at the other, a slope of {_number(answer['slope'])}"
        )
        if "lipschitz" in answer:
            lines.append(f"the claim rests on a slope of at most {_number(answer['lipschitz'])}")
    elif answer["code"] == "FF403":
        what = "finite" if answer["finite"] else "not finite"
        lines.append(f"at a distance of {_number(answer['distance'])} the logits are {what}")
    else:
        lines.append(
            f"at a distance of {_number(answer['distance'])} the class is {answer['predicted']},"
            f" with a margin of {_number(answer['margin'])}, alone and in a batch"
        )
    return [*lines, "it replays" if answer["replays"] else "it does NOT replay"]


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
