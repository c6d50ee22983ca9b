"""All that is told of one estimate, as lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.observed import Located, Observed
from falsefloor.report.detail import Detail
from falsefloor.report.standing import Standing, lines, rests, standing
from falsefloor.report.text import Glyphs, clean, code_in, fact, number, tone, verdict_word
from falsefloor.tui.themes import Line
from falsefloor.tui.words import judged


def story(detail: Detail, run: str, g: Glyphs, *, width: int) -> Iterator[Line]:
    """Why the verdict, from what, and what else is known of its input."""
    record = detail.record
    yield next(judged(record, g))
    if said := rests(record, _standing(detail)):  # the numbers and the share stand under the picture below
        yield (clean(said), "dim")
    yield ("", "")
    for warning in record["warnings"]:
        style = tone(warning["severity"]) or "dim"
        yield (f"{warning['code']} {warning['severity']}", style)
        yield (f"  {clean(warning['message'])}", "")
        for key, value in warning["evidence"].items():
            yield (f"  {clean(key)} {g.dash} {fact(value)}", "dim")
        if warning["witness"]:
            distance = warning["witness"].get("distance")
            shown = f" at {number(float(distance))}" if isinstance(distance, float | int) else ""
            replay = f"falsefloor replay {run} {warning['id']}"
            yield (f"  a point{shown} replays this: {replay}", "dim")
        yield ("", "")
    rest = ["No warnings."] * (not record["warnings"])
    if record["reason"] and code_in(record["reason"]) not in {one["code"] for one in record["warnings"]}:
        rest.append(clean(record["reason"]))
    yield from ((one, "dim") for one in (*rest, "") if rest)
    yield from known(detail, g, width=width)


def known(detail: Detail, g: Glyphs, *, width: int) -> Iterator[Line]:
    """Of an estimate's input: where the gradient is lost, what is proved there, what the others say."""
    record = detail.record
    located = Observed.read(detail.observed).located
    if located is not None:
        yield ("Where the gradient is lost", "heading")
        yield from _path(record, located, g)
        for said in (located.words, *located.others):
            yield (f"  {clean(said)}", "")
        yield ("", "")
    yield ("Proved, estimated, found", "heading")
    for said in lines([_standing(detail)], width=width, glyphs=g):
        yield (clean(said.rstrip()), "")
    yield ("", "")
    yield ("The same input by the other estimators", "heading")
    for other in detail.siblings:
        radius = other["radius"]
        shown = (
            g.radius(radius, claim=other["claim"], capped=other["capped"])
            if radius is not None
            else other["status"]
        )
        text = f"{shown:>11}  {clean(str(other['name']))}  {verdict_word(other['verdict'])}"
        yield (text, "strong" if other["id"] == record["id"] else "")


def _standing(detail: Detail) -> Standing:
    return standing(detail.siblings, of=detail.record, name=f"input {detail.record['input']}")


def _path(record: Mapping[str, Any], lost: Located, glyphs: Glyphs) -> Iterator[Line]:
    """From the input to the logits through what stands between, with the place where the gradient is lost."""
    stack = [(str(layer["use"]), str(layer.get("at", "input"))) for layer in record["stack"]]
    before = [(use, f"input.{n}") for n, (use, at) in enumerate(s for s in stack if s[1] == "input")]
    inside = [(use, at) for use, at in stack if at not in ("input", "logits", "model")]
    after = [(use, "model") for use, at in stack if at == "model"]
    after += [(use, f"logits.{n}") for n, (use, at) in enumerate(s for s in stack if s[1] == "logits")]
    where = lost.submodule or ""
    steps = [*before, (str(record["model"]), "model"), *inside, *after]
    nodes = [
        (name, bool(where) and (where == place or where.startswith(f"{place}."))) for name, place in steps
    ]
    yield ("  input", "dim")
    for name, here in nodes:
        lead = glyphs.cross if here else "|" if glyphs.floor == "o" else "│"
        what = f"  {glyphs.dash} {lost.operation} in {where}" if here else ""
        yield (f"  {lead} {clean(name)}{clean(what)}", "refuted" if here else "")
    yield ("  logits", "dim")


def facts(detail: Detail) -> Iterator[Line]:
    """What is stored of it, by name."""
    record = detail.record
    yield ("This estimate", "heading")
    yield from _pairs(
        {
            "radius": record["radius"],
            "interval": record["interval"],
            "label": record["label"],
            "predicted": record["predicted"],
            "gradient": record["gradient"],
            "queries": sum(record["queries"].values()),
            "seconds": record["seconds"],
            "plugin": f"{record['plugin'].get('dist', '')} {record['plugin'].get('version', '')}",
        }
    )
    yield ("", "")
    yield ("Parameters", "heading")
    yield from _pairs(record["params"])
    yield ("", "")
    yield ("Evidence", "heading")
    heads = detail.shown.get("columns")
    named = heads if isinstance(heads, dict) else {}
    yield from _pairs({named.get(name, name): told for name, told in record["evidence"].items()})
    yield ("", "")
    yield ("Observed of the subject at this input", "heading")
    yield from _pairs({k: v for k, v in detail.observed.items() if k != "arrays"})


def _pairs(facts: object) -> Iterator[Line]:
    for key, value in facts.items() if isinstance(facts, dict) else ():
        if isinstance(value, float) and math.isnan(value):
            continue
        yield (f"  {fact(key):<24} {fact(value)}", "")
