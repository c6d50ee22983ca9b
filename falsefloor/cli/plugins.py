"""`plugins`: what is installed, whether it works, and what it takes; `new` and `check` live in authoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli import authoring
from falsefloor.cli.authoring import OnlyKind
from falsefloor.cli.terminal import AsJson, say, show, show_document, show_text
from falsefloor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from falsefloor.plugins import Described

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


listing.command("new")(authoring.new)
listing.command("check")(authoring.check)
