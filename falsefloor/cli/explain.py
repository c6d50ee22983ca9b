"""`explain` and `inputs`: what a warning means, and what a reference shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from falsefloor.cli.studies import with_settings
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
    name, info = _entry(code)
    if as_json:
        show_document({"schema": "falsefloor.explain/1", "codes": [_json(name, info)]})
        return
    from falsefloor.plugins.described import LONGEST_PAGE
    from falsefloor.report.text import clean

    page = _page(name)
    show_text(f"{clean(name)} {clean(info.name)} ({info.severity})")
    titles = {
        "": info.summary,
        "What was measured": page.get("measured", ""),
        "Usual cause": page.get("cause", ""),
        "Cure": info.cure,
        "What it cannot see": page.get("blind_spot", ""),
        "Source": info.source,
    }
    told = [(title, words) for title, words in titles.items() if words]
    told += [("", words) for words in info.page.split("\n\n") if words.strip()]
    import textwrap

    for title, words in told:
        show_text(f"\n{title}" if title else "")
        indent = "  " if title else ""
        width = min(100, console(sys.stdout).width)
        whole = clean(words, longest=LONGEST_PAGE)
        show_text(textwrap.fill(whole, width, initial_indent=indent, subsequent_indent=indent))


def _entry(code: str) -> tuple[str, CodeInfo]:
    from falsefloor.checks.catalogue import CATALOGUE
    from falsefloor.checks.catalogue import explain as find
    from falsefloor.report.text import clean

    # as it is copied from a sentence
    code = code.strip().rstrip(":.,;)")
    code = f"FF{code}" if code.isdigit() else code
    entry = find(code)
    if entry is not None:
        return code.upper(), entry.info
    others = _others()
    if code in others:
        return code, others[code]
    whole = [name for name in others if name.rpartition(":")[2].lower() == code.lower()]
    if whole:
        raise UsageError(f"no warning {code!r} of ours; write {' or '.join(map(clean, whole))}.")
    named = [c for c, entry in CATALOGUE.items() if code.lower() in entry.info.name]
    found = f"{', '.join(f'{c} is {CATALOGUE[c].info.name!r}' for c in named)}. " if named else ""
    known = did_you_mean(code.upper(), [*CATALOGUE, *map(clean, others)])
    from falsefloor.plugins.names import discover

    shown = f"{code} is a plugin: falsefloor plugins show {code}. "
    found += shown * any(plugin.name == code for plugin in discover())
    package, colon, _ = code.partition(":")
    found += f"It is a code of the package {package!r}, which is not installed here. " * bool(colon)
    raise UsageError(f"no warning {code!r}. {found}{known}")


def _others() -> dict[str, CodeInfo]:
    """The codes of others' checks that are installed, by their whole names; of one that two checks of a
    package offer, the first."""
    from falsefloor.checks.catalogue import CATALOGUE
    from falsefloor.plugins import catalogue

    found: dict[str, CodeInfo] = {}
    for row in catalogue().of("check"):
        if row.usable and not row.plugin.own:
            for name, info in row.codes.items():
                if name not in CATALOGUE:
                    found.setdefault(name, info)
    return found


def _list_codes(*, as_json: bool) -> None:
    from falsefloor.checks.catalogue import CATALOGUE
    from falsefloor.report.listings import Listing
    from falsefloor.report.text import clean

    told = {code: entry.info for code, entry in CATALOGUE.items()} | _others()
    if as_json:
        pages = [_json(code, info) for code, info in told.items()]
        show_document({"schema": "falsefloor.explain/1", "codes": pages})
        return
    rows = tuple(
        (clean(code), info.severity, clean(info.name), clean(" ".join(info.summary.split())))
        for code, info in told.items()
    )
    show(Listing(("code", "severity", "name", "what it means"), rows))


def _json(code: str, info: CodeInfo) -> dict[str, Any]:
    row = {name: getattr(info, name) for name in ("name", "severity", "summary", "cure", "source", "page")}
    return {"code": code, **row, **_page(code)}


def _page(code: str) -> dict[str, str]:
    """What is said of a code of ours beside its row."""
    from falsefloor.checks.catalogue import CATALOGUE

    entry = CATALOGUE.get(code)
    return {name: getattr(entry, name) for name in ("measured", "cause", "blind_spot")} if entry else {}


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
