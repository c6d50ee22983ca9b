"""`plugins`: what is installed, whether it works and what it takes; one written, one held to the contract."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.terminal import AsJson, say, show, show_document, show_text
from falsefloor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from falsefloor.plugins import Described
    from falsefloor.plugins.authoring import Checked


class Kind(enum.StrEnum):
    """Kinds of plugins."""

    estimator = "estimator"
    masker = "masker"
    gradient = "gradient"
    model = "model"
    input = "input"
    check = "check"


OnlyKind = Annotated[Kind | None, typer.Option("--kind", help="Only this kind.")]
listing = typer.Typer(
    help="What is installed: estimators, maskers, gradients, models, inputs, checks.", no_args_is_help=True
)


@listing.command("list")
def list_(
    kind: OnlyKind = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Look at every plugin again.")] = False,
    as_json: AsJson = False,
) -> None:
    """List all plugins, ours and others'. A broken one is a row with its reason, and breaks nothing else."""
    from falsefloor.plugins import catalogue

    rows = [row for row in catalogue(refresh=refresh).plugins if kind is None or row.kind == kind.value]
    if as_json:
        show_document({"schema": "falsefloor.plugins/1", "plugins": [row.to_json() for row in rows]})
        return
    from falsefloor.report.listings import plugins_table

    show(plugins_table(rows))
    unusable = [row.spec for row in rows if not row.usable]
    if unusable:
        say(f"{len(unusable)} cannot be used; why: falsefloor plugins show {unusable[0]}")


@listing.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin's name, or DIST/NAME.")],
    kind: OnlyKind = None,
    as_json: AsJson = False,
) -> None:
    """Show one plugin: its parameters with their ranges and defaults, or why it cannot be used."""
    rows = _named(name, kind.value if kind else None)
    if as_json:
        show_document({"schema": "falsefloor.plugins/1", "plugins": [row.to_json() for row in rows]})
        return
    for at, row in enumerate(rows):
        if at:
            show_text("")
        _print(row)


def _named(name: str, kind: str | None) -> list[Described]:
    from falsefloor.plugins import catalogue

    found = catalogue().plugins
    rows = [row for row in found if name in (row.name, row.spec) and (kind is None or row.kind == kind)]
    if not rows:
        known = {row.name for row in found if kind is None or row.kind == kind}
        raise UsageError(f"no plugin {name!r}. {did_you_mean(name, known)}")
    return rows


def _print(row: Described) -> None:
    from falsefloor.report.listings import options_table
    from falsefloor.report.text import clean

    article = "an" if row.kind[0] in "aeiou" else "a"
    show_text(
        f"{clean(row.name)}, {article} {row.kind} of {clean(row.dist)} {clean(row.version)}: {row.status}"
    )
    for line in (row.summary, row.reason):
        if line:
            show_text(f"  {clean(line)}")
    if row.traceback:
        show_text("\n".join(f"  | {clean(line)}" for line in row.traceback.splitlines()))
    if row.claim:
        show_text(f"  claims a {row.claim} under {', '.join(row.norms)}")
    for code, info in row.codes.items():
        show_text(f"  {clean(code)} {clean(info.name)} ({info.severity})")
    if row.options:
        show_text("")
        show(options_table(row.options))
        first = row.options[0]
        from falsefloor.study.grammar import show_value

        flag = {"estimator": "--estimator", "masker": "--masker"}.get(row.kind)
        if flag:
            show_text(f"\nfor example: {flag} {clean(row.name)}:{first.name}={show_value(first.default)}")


@listing.command("new")
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What a study will call it: lower case, digits, dashes.")
    ],
    kind: Annotated[Kind, typer.Option("--kind", help="What it will be.")],
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="The folder that gets the package's folder.")
    ] = Path(),
    author: Annotated[
        str, typer.Option("--author", metavar="NAME", help="For the license and the metadata.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write a package that builds, passes its tests and type checks as it is, with the kit wired in."""
    from falsefloor.plugins.authoring import write_package
    from falsefloor.report.text import clean

    folder, files = write_package(name, kind.value, into=into, author=author)
    if as_json:
        paths = [str(path) for path in files]
        document = {"schema": "falsefloor.new/1", "kind": kind.value, "name": name, "folder": str(folder)}
        show_document({**document, "files": paths})
        return
    for path in files:
        show_text(clean(str(path)))
    say(f"next: python -m pytest {clean(str(folder))}")


@listing.command("check")
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A plugin's name or DIST/NAME, with parameters as in a study."),
    ],
    kind: OnlyKind = None,
    ref: Annotated[
        str | None,
        typer.Option(
            "--ref", metavar="REF", help="For a model or inputs: what follows the scheme, such as mlp."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="REF", help="For inputs: the model they are for.")
    ] = "digits:mlp",
    limit: Annotated[
        float, typer.Option("--time-limit", metavar="S", min=0.1, help="Seconds one check may take.")
    ] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on an installed plugin, in another process. Exits with 1 where it fails."""
    from falsefloor.plugins.authoring import Trial, conformance
    from falsefloor.study.grammar import parse_spec

    spec = parse_spec(name)
    row = _one(spec.name, kind.value if kind else None)
    results: list[Checked] = []
    for result in conformance(Trial(row, spec.params, ref=ref, model=model), limit=limit):
        results.append(result)
        if not as_json:
            _print_result(result)
    counts = Counter(result.outcome for result in results)
    if as_json:
        rows = [dataclasses.asdict(result) for result in results]
        document = {"schema": "falsefloor.conformance/1", "kind": row.kind, "spec": row.spec}
        show_document({**document, "version": row.version, "counts": counts, "checks": rows})
    else:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        say(f"{row.spec} {row.version}: {told}")
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def _one(name: str, kind: str | None) -> Described:
    from falsefloor.plugins import KINDS, catalogue, discover

    kinds = [k for k in KINDS for p in discover() if p.kind == k and name in (p.name, p.spec)]
    kinds = list(dict.fromkeys(kinds))
    if kind is None and len(kinds) > 1:
        raise UsageError(
            f"{name!r} names several plugins, by kind: {', '.join(kinds)}. Say which with --kind."
        )
    wanted = kind or (kinds[0] if kinds else "estimator")
    return catalogue([(wanted, name)]).find(wanted, name)


def _print_result(result: Checked) -> None:
    from falsefloor.report.text import clean

    show_text(f"{result.outcome:8} {clean(result.name)}")
    if result.message:
        show_text(f"         {clean(result.message)}")
