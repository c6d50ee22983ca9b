"""`claim`: what somebody says of a set of inputs, held against a run or a model; a gate."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.ending import GATE, Ending, ending, leave
from falsefloor.cli.studies import build_study, compute, with_settings
from falsefloor.cli.terminal import AsJson, say, show, show_document, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from falsefloor.report.claims import Claim
    from falsefloor.store.run_dir import RunDir

ESTIMATORS = ("clever", "crown", "attack")
"""What a claim about a model is held against: an estimate, a proof, and points."""


class FailOn(enum.StrEnum):
    """The outcome that makes the gate fail; the worse one always does."""

    undecided = "undecided"
    refuted = "refuted"


@with_settings()
def claim(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="MODEL|RUN", help="A model, as digits:mlp; or a run that is stored.")
    ],
    claims: Annotated[
        list[str],
        typer.Argument(metavar="CLAIM…", help='"linf 0.03 accuracy >= 0.61", or a TOML file of claims.'),
    ],
    masker: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Of a model: what it stands behind. Repeatable.")
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            "--estimator",
            "-e",
            metavar="SPEC",
            help="Of a model: what it is held against, as milp. Default: clever, crown, attack.",
        ),
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="Exit with 3 from this outcome on.")] = FailOn.undecided,
    as_json: AsJson = False,
    **settings: str | bool | None,
) -> None:
    """Check claims about robust accuracy: held, refuted with witnesses, or not decided.

    Held by proofs alone, refuted by verified points and misclassified inputs alone;
    estimates are counted and decide nothing. A claim speaks of each masker unless
    its file says which. Exit code 0 where all are held, 3 otherwise.

    falsefloor claim digits:mlp --inputs digits:0-99 "linf 1/64 accuracy >= 0.8"
    """
    from falsefloor.report.claims import parse_claim, read_claims

    told = [
        one
        for text in claims
        for one in (read_claims(Path(text)) if text.endswith(".toml") else [parse_claim(text)])
    ]
    run, interrupted = _run(ctx, subject, told, masker or (), estimator or (), settings)
    leave(_judged(run, told, fail_on=fail_on, interrupted=interrupted, as_json=as_json))


def _run(
    ctx: typer.Context,
    subject: str,
    told: Sequence[Claim],
    maskers: Sequence[str],
    estimators: Sequence[str],
    settings: dict[str, str | bool | None],
) -> tuple[RunDir, bool | None]:
    """The stored run, or one that is computed now, and whether that was interrupted; None for a stored one.

    Raises `UsageError` where a stored run is given what only a new one could take.
    """
    found = stored(ctx, subject, {**settings, "masker": maskers, "estimator": estimators})
    if found is not None:
        return found, None
    study = build_study(
        None,
        models=[subject],
        maskers=maskers or ["none"],
        estimators=estimators or ESTIMATORS,
        norms=list(dict.fromkeys(one.norm for one in told)),
        # an estimate decides nothing, so none is made a second time
        **{"tag": "claim", "recover": "off"}
        | {name: value for name, value in settings.items() if value is not None},
    )
    return compute(ctx, study)


def _judged(
    run: RunDir, told: Sequence[Claim], *, fail_on: FailOn, interrupted: bool | None, as_json: bool
) -> Ending:
    """Print the outcomes, and say how the command ends."""
    from falsefloor.report.accuracy import read_sets
    from falsefloor.report.claims import check_claims, tabular
    from falsefloor.report.comparison import read_comparison
    from falsefloor.store.reader import RunReader
    from falsefloor.store.standing import ENDED
    from falsefloor.store.trust import code_of

    with RunReader(run) as reader:
        outcomes, said = check_claims(told, read_sets(reader), reader.models())
        status, words = reader.info().status, read_comparison(reader).words
        said += words
        if not code_of(reader).ours:
            said.append(
                f"run {run.id} was not computed by this account: its proofs and points are its author's"
            )
    if status not in ENDED:
        said.append(f"run {run.id} goes on: inputs of which nothing came back yet decide nothing")
    for line in said:
        say(f"note: {line}")
    if as_json:
        document = {"schema": "falsefloor.claims/1", "run": run.id, "status": status}
        show_document({**document, "claims": [one.to_json() for one in outcomes]})
    else:
        show(tabular(outcomes))
    ended = Ending(0) if interrupted is None else ending(run, interrupted=interrupted)
    words_that_fail = ("refuted", "not decided") if fail_on is FailOn.undecided else ("refuted",)
    failed = [one for one in outcomes if one.word in words_that_fail or one.blank]
    if ended.code or not failed:  # whatever else went wrong outranks a gate
        return ended
    return Ending(
        GATE, f"{len(failed)} of {len(outcomes)} claims {'are' if len(failed) > 1 else 'is'} not held"
    )
