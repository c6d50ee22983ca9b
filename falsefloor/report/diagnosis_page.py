"""The page that `falsefloor diagnose` prints: findings as sentences, numbers beside the words they need."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.diagnosis import Claims, Diagnosis
from falsefloor.report.text import STYLES, Glyphs, clean, glyphs_for, number

TITLE = "bold"


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
