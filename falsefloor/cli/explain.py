"""`explain` and `inputs`: what a warning means, and what a reference shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from falsefloor.cli.settings import with_settings
from falsefloor.cli.terminal import AsJson, console, show, show_document, show_text
from falsefloor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from falsefloor.api import CodeInfo


def complete_code(incomplete: str) -> list[str]:
    """Our codes, for the shell's completion."""
    from falsefloor.checks.catalogue import CATALOGUE

    return [code for code in CATALOGUE if code.startswith(incomplete.upper())]


def explain(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", help="FF201, or a plugin's DIST:NAME.", autocompletion=complete_code),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a warning: its cause, the cure, what it cannot see. Without a code, list all."""
    if code is None:
        _list_codes(as_json=as_json)
        return
    name, info, page = _entry(code)
    if as_json:
        show_document({"schema": "falsefloor.explain/1", "codes": [_json(name, info, page)]})
        return
    from falsefloor.report.text import clean

    show_text(f"{clean(name)} {clean(info.name)} ({info.severity})")
    titles = {
        "": info.summary,
        "What was measured": page.get("measured", ""),
        "Usual cause": page.get("cause", ""),
        "Cure": info.cure,
        "What it cannot see": page.get("blind_spot", ""),
        "Source": info.source,
    }
    import textwrap

    for title, words in titles.items():
        if words:
            show_text(f"\n{title}" if title else "")
            indent = "  " if title else ""
            width = min(100, console(sys.stdout).width)
            show_text(textwrap.fill(clean(words), width, initial_indent=indent, subsequent_indent=indent))


def _entry(code: str) -> tuple[str, CodeInfo, dict[str, str]]:
    from falsefloor.checks.catalogue import CATALOGUE
    from falsefloor.checks.catalogue import explain as find

    # as it is copied from a sentence
    code = code.strip().rstrip(":.,;)")
    code = f"FF{code}" if code.isdigit() else code
    entry = find(code)
    if entry is not None:
        page = {"measured": entry.measured, "cause": entry.cause, "blind_spot": entry.blind_spot}
        return code.upper(), entry.info, page
    from falsefloor.plugins import catalogue

    rows = catalogue().of("check")
    others = {name: info for row in rows for name, info in row.codes.items() if name not in CATALOGUE}
    if code in others:
        return code, others[code], {}
    named = [c for c, known in CATALOGUE.items() if code.lower() in known.info.name]
    found = f"{', '.join(f'{c} is {CATALOGUE[c].info.name!r}' for c in named)}. " if named else ""
    raise UsageError(f"no warning {code!r}. {found}{did_you_mean(code.upper(), [*CATALOGUE, *others])}")


def _list_codes(*, as_json: bool) -> None:
    from falsefloor.checks.catalogue import CATALOGUE
    from falsefloor.report.listings import Listing

    if as_json:
        pages = [
            _json(code, e.info, {"measured": e.measured, "cause": e.cause, "blind_spot": e.blind_spot})
            for code, e in CATALOGUE.items()
        ]
        show_document({"schema": "falsefloor.explain/1", "codes": pages})
        return
    rows = tuple(
        (code, e.info.severity, e.info.name, " ".join(e.info.summary.split()))
        for code, e in CATALOGUE.items()
    )
    show(Listing(("code", "severity", "name", "what it means"), rows))


def _json(code: str, info: CodeInfo, page: dict[str, str]) -> dict[str, Any]:
    row = {name: getattr(info, name) for name in ("name", "severity", "summary", "cure", "source")}
    return {"code": code, **row, **page}


@with_settings("bounds")
def inputs(
    ref: Annotated[str, typer.Argument(metavar="REF", help="digits:0-9, npz:batch.npz.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="REF", help="The model whose inputs they are.")
    ] = "digits:mlp",
    limit: Annotated[int, typer.Option(metavar="N", help="How many are shown.", min=1)] = 10,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Show inputs as pictures, each with its label and the model's answer; wrong answers are marked."""
    from falsefloor.plugins import catalogue
    from falsefloor.plugins.process import ask
    from falsefloor.report.pictures import Gallery
    from falsefloor.study.study import ModelSpec
    from falsefloor.worker.launch import find_ref

    installed = catalogue()
    find_ref(installed, "model", model)
    find_ref(installed, "input", ref)
    domain = ModelSpec(model, **settings).bounds
    request = {"model": model, "inputs": ref, "limit": limit, "bounds": domain}
    (answer,) = ask("falsefloor.engine.glimpse", request, doing=f"loading {model} and {ref}")
    if as_json:
        show_document({"schema": "falsefloor.inputs/1", "model": model, "inputs": ref, **answer})
    else:
        show(Gallery(answer))
