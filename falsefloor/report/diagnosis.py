"""What a run says of its models' gradients: where they go missing, what lies beneath, and what to do.

Read from a stored run, so that any run can be diagnosed later; nothing here computes anything again.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.checks.verdicts import rank
from falsefloor.jsonable import as_number
from falsefloor.observed import Located as FoundAt
from falsefloor.observed import Observed
from falsefloor.report.cells import brief, grouped, summary
from falsefloor.report.text import STYLES, Glyphs, clean, glyphs_for, number
from falsefloor.store.reader import RunReader

TITLE = "bold"
AGREE = 1.5
"""Largest over smallest count of steps that inputs may tell of one mask: single counts err by up to 15 %."""


@dataclass(frozen=True)
class Claims:
    """One estimator's radii over the inputs, as its cell says it. verdicts: counts, gravest first.

    reason: the most frequent of the worst verdict. refused: why estimates were skipped or failed, if any.
    """

    estimator: str
    claim: str
    recovers: str | None
    radius: float | None
    capped: bool
    verdicts: Mapping[str, int]
    reason: str
    refused: str | None
    gradient: str | None = None
    """The repaired gradient that was used, with how well it agreed."""


@dataclass(frozen=True)
class Located:
    """An operation, in words, and on how many inputs it was found there."""

    words: str
    inputs: int
    certain: bool


@dataclass(frozen=True)
class Steps:
    """levels: median steps per unit of input, None where too few inputs told or they disagree.

    width: 1/levels; ramp: the share of the domain that slopes by itself. told: on how many inputs; reason:
    the most frequent word of the others.
    """

    levels: float | None
    width: float | None
    ramp: float | None
    told: int
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """One subject under one norm. agreement: inputs that the mask leaves in their class, of how many."""

    model: str
    masker: str
    norm: str
    inputs: int
    located: tuple[Located, ...]
    healthy: bool
    """nothing was located, and no claim that followed autograd was doubted"""
    steps: Steps
    claims: tuple[Claims, ...]
    agreement: tuple[int, int]

    def raw(self) -> list[Claims]:
        """Lower claims as the estimators made them, repaired ones left out."""
        return [one for one in self.claims if one.claim != "upper_bound" and one.recovers is None]

    def repaired(self) -> list[Claims]:
        return [one for one in self.claims if one.recovers is not None]

    def ceilings(self) -> list[Claims]:
        return [one for one in self.claims if one.claim == "upper_bound"]


def diagnose(reader: RunReader) -> list[Diagnosis]:
    """A diagnosis for each subject and norm of the run, in the table's order."""
    groups = grouped(reader.estimates(), "model", "masker", "norm")
    seen = grouped(reader.observations(), "model", "masker", "norm")
    return [
        _diagnosis((model, masker, norm), records, seen.get((model, masker, norm), []))
        for (model, masker, norm), records in groups.items()
    ]


def _diagnosis(
    subject: tuple[str, str, str], records: Sequence[Mapping[str, Any]], observed: Sequence[Mapping[str, Any]]
) -> Diagnosis:
    claims = tuple(_claims(name, group) for (name,), group in grouped(records, "name").items())
    located = _located(observed)
    followed = [one for one in claims if one.claim != "upper_bound" and one.recovers is None]
    doubted = any(one.verdicts.get("refuted") or one.verdicts.get("suspect") for one in followed)
    same = [one["agreement"] for one in observed if one["agreement"] is not None]
    return Diagnosis(
        *subject,
        inputs=len({record["input"] for record in records}),
        located=located,
        healthy=not located and not doubted,
        steps=_steps(records),
        claims=claims,
        agreement=(sum(same), len(same)),
    )


def _claims(name: str, group: Sequence[Mapping[str, Any]]) -> Claims:
    first, cell = group[0], summary(0, [brief(record) for record in group])
    return Claims(
        name,
        first["claim"],
        first["recovers"],
        cell.radius,
        cell.capped,
        {word: cell.verdicts[word] for word in sorted(cell.verdicts, key=rank)},
        cell.reason,
        cell.failure or None,
        _gradient(group),
    )


def _gradient(group: Sequence[Mapping[str, Any]]) -> str | None:
    """ "straight-through on 5, secant on 1; agreement with the function's own secants 0.97 to 1.02"."""
    facts = [one["evidence"] for one in group if "gradient_source" in one["evidence"]]
    if not facts:
        return None
    used = Counter(str(fact["gradient_source"]) for fact in facts)
    ratios = _numbers(fact.get("gradient_ratio") for fact in facts)
    alike = _numbers(fact.get("gradient_correlation") for fact in facts)
    words = ", ".join(f"{source} on {count}" for source, count in used.most_common())
    if ratios and alike:
        words += f"; {min(ratios):.2f} to {max(ratios):.2f} times the function's own secants"
        words += f", correlation at least {min(alike):.3f}"
    return words


def _located(observed: Sequence[Mapping[str, Any]]) -> tuple[Located, ...]:
    """Operations by how many inputs they were found on, each place once."""
    found: dict[tuple[str | None, ...], list[FoundAt]] = {}
    for one in observed:
        fact = Observed.read(one["facts"]).located
        if fact is not None and fact.operation:
            found.setdefault((fact.operation, fact.submodule, fact.line, fact.kind), []).append(fact)
    ranked = sorted(found.values(), key=lambda facts: -len(facts))
    return tuple(Located(facts[0].words, len(facts), all(f.certain for f in facts)) for facts in ranked)


def _steps(records: Sequence[Mapping[str, Any]]) -> Steps:
    """What finite differences, or a repaired gradient's own look at the scales, told of steps."""
    by_input: dict[int, Mapping[str, Any]] = {}
    for record in records:
        if "step_reason" in record["evidence"]:
            by_input.setdefault(record["input"], record["evidence"])
    facts = list(by_input.values())
    told = [f for f in facts if f["step_reason"] == "steps"]
    others = Counter(str(f["step_reason"]) for f in facts if f["step_reason"] != "steps")
    reason = others.most_common(1)[0][0] if others else "" if told else "not measured"
    levels = _numbers(f.get("levels") for f in told)
    if 2 * len(levels) < len(facts) or not levels:
        # a mask's steps are the model's, not one input's: what a few inputs show is chance
        return Steps(None, None, None, len(levels), reason)
    if max(levels) > AGREE * min(levels):
        return Steps(None, None, None, len(levels), "refused: the inputs disagree about the steps")
    ramps = _numbers(f.get("ramp_share") for f in told)
    middle = median(levels)
    return Steps(middle, 1 / middle, median(ramps) if ramps else None, len(told), reason)


def _numbers(values: Iterable[Any]) -> list[float]:
    found = (as_number(value) for value in values)
    return [value for value in found if value is not None and value == value]


@dataclass(frozen=True)
class DiagnosisPage:
    """A rich renderable of one subject's diagnosis; ``run`` names the run in the commands it ends with."""

    diagnosis: Diagnosis
    run: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        return self.lines(options.max_width, glyphs_for(options.encoding))

    def lines(self, width: int, glyphs: Glyphs) -> Iterator[Text]:
        """The page, a line each, for whoever paints it."""
        one = self.diagnosis
        names = [one.model, *([one.masker] if one.masker != "none" else []), one.norm, f"{one.inputs} inputs"]
        yield Text(f" {glyphs.dot} ".join(map(clean, names)), style=TITLE)
        for title, sentences in (
            ("What hides the gradient", _hidden(one)),
            ("Steps", _stepped(one)),
            ("What is claimed", [_claim(c, glyphs) for c in one.raw()]),
            ("What lies beneath", _beneath(one, glyphs)),
            ("What contradicts any larger claim", [_claim(c, glyphs) for c in one.ceilings()]),
            ("What this means", [_meaning(one)]),
        ):
            if sentences:
                yield Text("")
                yield Text(title, style=TITLE)
                for sentence in sentences:
                    yield from _wrapped(sentence, width)
        yield Text("")
        for command in self._onwards():
            yield Text(f"next: {command}", style="dim")

    def _onwards(self) -> list[str]:
        codes = [c.reason.split(" ")[0] for c in self.diagnosis.raw() if c.reason.startswith("FF")]
        words = [f"falsefloor explain {clean(codes[0])}"] if codes else []
        return [*words, f"falsefloor show {self.run}", f"falsefloor tui {self.run}"]


def _wrapped(sentence: Text, width: int) -> Iterator[Text]:
    lines = textwrap.wrap(sentence.plain, max(24, width), initial_indent="  ", subsequent_indent="    ")
    yield from (Text(line, style=sentence.style) for line in lines)


def _hidden(one: Diagnosis) -> list[Text]:
    if one.located:
        return [
            Text(f"{clean(found.words)} (on {found.inputs} of {one.inputs} inputs)") for found in one.located
        ]
    if one.healthy:
        return [Text("Nothing was found to: no operation loses the gradient, and no claim is doubted.")]
    return [Text("Not located: no operation that loses the gradient was seen.")]


def _stepped(one: Diagnosis) -> list[Text]:
    steps = one.steps
    if steps.levels is None or steps.width is None:
        return [Text(f"{steps.reason[:1].upper()}{clean(steps.reason[1:])}.")] if steps.reason else []
    said = f"About {steps.levels:.0f} steps a unit of input, each {steps.width:.2g} wide"
    if steps.ramp is not None and steps.ramp >= 0.02:
        said += f", {steps.ramp:.0%} of it a slope"
    said += f" (median of {steps.told} of {one.inputs} inputs"
    return [Text(f"{said}; elsewhere {clean(steps.reason)})." if steps.reason else f"{said}).")]


def _claim(claims: Claims, glyphs: Glyphs) -> Text:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in claims.verdicts.items())
    said = (
        f"{clean(claims.estimator)}: {glyphs.radius(claims.radius, claim=claims.claim, capped=claims.capped)}"
    )
    said += f" ({verdicts})"
    worst = next(iter(claims.verdicts), "")
    if claims.reason and worst not in ("held", "failed", "skipped", "cancelled"):
        said += f", {clean(claims.reason)}"
    if claims.refused is not None:
        said += f"; {clean(claims.refused)}"
    return Text(said, style=STYLES.get(worst, ""))


def _beneath(one: Diagnosis, glyphs: Glyphs) -> list[Text]:
    lines = []
    for claims in one.repaired():
        lines.append(_claim(claims, glyphs))
        if claims.gradient is not None:
            lines.append(Text(f"the gradient used: {claims.gradient}"))
    return lines


def _meaning(one: Diagnosis) -> Text:
    repaired = [c for c in one.repaired() if c.radius is not None]
    doubted = [c for c in one.raw() if c.verdicts.get("refuted") or c.verdicts.get("suspect")]
    if not doubted:
        return Text(
            "No failure was found in the claims above. They are estimates still: what nobody looked at is not"
            " known."
        )
    pairs = [(c, r) for r in repaired for c in doubted if r.recovers == c.estimator and c.radius is not None]
    if not pairs:
        return Text(
            "The doubted numbers say how hidden the gradient is, not how robust the model is, and no gradient"
            " that the function confirms was found in its place. Rely on the ceiling, and on estimates that"
            " need no gradient (finite-difference)."
        )
    raw, repair = pairs[0]
    assert raw.radius is not None and repair.radius is not None  # both were asked for above
    times = raw.radius / repair.radius if repair.radius else float("inf")
    trust = "held" if set(repair.verdicts) <= {"held"} else "itself doubted on some inputs"
    return Text(
        f"The mask changes {clean(raw.estimator)} to {times:.3g} times what the function beneath allows."
        f" With a gradient that the function itself confirms it is {number(repair.radius)}, {trust}: use that"
        " number, or take the operation named above out of the way of the gradient."
    )
