"""Claims about a set of inputs, held against what a run proved and found: held, refuted, or not decided.

    linf 8/255 accuracy >= 0.61        linf 0.03 accuracy >= 61% class 3
    l2 median >= 0.5                   l2 minimum > 0.1

A claim is held by proofs alone and refuted by verified points and misclassified inputs alone: it is decided
where it is true, or false, whatever of the bracket between both the exact value is. Estimates decide nothing.
"""

from __future__ import annotations

import math
import operator
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from falsefloor.api import NORMS
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.report.accuracy import Accuracy, InputSet, Known
from falsefloor.report.listings import Tabular
from falsefloor.report.radii import check_units, radius_of
from falsefloor.report.text import clean, number

Word = Literal["held", "refuted", "not decided"]
EXAMPLE = "linf 0.03 accuracy >= 0.61"
_FORM = re.compile(
    r"(?P<norm>\S+)(?:\s+(?P<radius>[^\s<>=]+))??\s+(?P<what>[a-z]+)\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<value>[^\s%]+)\s*(?P<percent>%)?(?:\s+class\s+(?P<label>\d+))?\s*\Z"
)
SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
}  # fmt: skip
WHAT = ("accuracy", "minimum", "median")
NAMED = 5
"""Witnesses that are named one by one in a sentence."""


@dataclass(frozen=True)
class Claim:
    """text: as it was written. radius: of an accuracy; value: a share, or a radius. label: of which class
    alone; model, masker: of which subject alone, empty for each."""

    text: str
    norm: str
    what: str
    sign: str
    value: Fraction
    radius: float = 0.0
    label: int | None = None
    model: str = ""
    masker: str = ""


def parse_claim(text: str, *, model: str = "", masker: str = "") -> Claim:
    """Raises `UsageError`."""
    found = _FORM.match(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no claim. One looks like {EXAMPLE!r}: a norm, a radius, accuracy, >= or another"
            " sign, a share; or 'l2 median >= 0.5'; ' class 3' at the end speaks of one class."
        )
    norm, what = found["norm"], found["what"]
    if norm not in NORMS:
        raise UsageError(f"no norm {norm!r} in {text!r}. {did_you_mean(norm, NORMS)}")
    if what not in WHAT:
        raise UsageError(f"nothing is known of {what!r} in {text!r}. {did_you_mean(what, WHAT)}")
    of_accuracy = what == "accuracy"
    if of_accuracy is (found["radius"] is None):
        raise UsageError(
            f"accuracy is at a radius, as {EXAMPLE!r}; not {text!r}."
            if of_accuracy
            else f"the {what} is a radius itself and takes none, as 'l2 {what} >= 0.5'; not {text!r}."
        )
    given = radius_of(found["value"])  # the same numbers, and the same complaint
    # a share of inputs is compared exactly, a radius as the float that radii are
    value = Fraction(found["value"]) / (100 if found["percent"] else 1) if of_accuracy else Fraction(given)
    if of_accuracy and value > 1:
        raise UsageError(f"an accuracy is a share of 1, or has a %, as 0.61 or 61%; not {found['value']}.")
    return Claim(
        text.strip(),
        norm,
        what,
        found["sign"],
        value,
        radius_of(found["radius"]) if found["radius"] else 0.0,
        None if found["label"] is None else int(found["label"]),
        model,
        masker,
    )


def read_claims(path: Path) -> list[Claim]:
    """Of a TOML file: ``claims = ["…", …]``, or [[claims]] with claim=, model=, masker=.

    Raises `UsageError`.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    listed = told.get("claims")
    if not isinstance(listed, list) or not listed or set(told) != {"claims"}:
        raise UsageError(f'{path} needs claims = ["{EXAMPLE}"] and nothing beside.')
    made = []
    for one in listed:
        table = {"claim": one} if isinstance(one, str) else one
        keys = ("claim", "model", "masker")
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise UsageError(f"{path}: a claim is text, or a table of texts; not {one!r}.")
        if wrong := [key for key in table if key not in keys]:
            raise UsageError(f"{path}: no key {wrong[0]!r} in a claim. {did_you_mean(wrong[0], keys)}")
        if "claim" not in table:
            raise UsageError(f'{path}: {one!r} lacks claim = "{EXAMPLE}".')
        made.append(parse_claim(table.pop("claim"), **table))
    return made


@dataclass(frozen=True)
class Outcome:
    """A claim of one subject. low, high: where the exact value lies; accuracy: the counts behind it.

    witnesses: by input the points found within its radius, nearest first; misclassified: the inputs that
    withstand nothing.
    """

    claim: Claim
    inputs: InputSet
    accuracy: Accuracy
    low: Fraction | float
    high: Fraction | float
    witnesses: Mapping[int, Known]
    misclassified: tuple[int, ...]

    @property
    def word(self) -> Word:
        sign, value = SIGNS[self.claim.sign], self.claim.value
        ends = sign(self.low, value), sign(self.high, value)
        return "held" if all(ends) else "not decided" if any(ends) else "refuted"

    @property
    def blank(self) -> bool:
        """Whether it is not decided for lack of any answer: no gate may pass on that."""
        unknown = self.inputs.unknown
        return self.word == "not decided" and 0 < unknown == self.inputs.total - self.accuracy.wrong

    @property
    def why(self) -> str:
        """The sentence beside the outcome."""
        of_share = self.claim.what == "accuracy"

        def shown(end: Fraction | float) -> str:
            told = f"{100 * float(end):.1f} %" if of_share else number(float(end))
            return "not bounded" if end == math.inf else told

        low, high = shown(self.low), shown(self.high)
        said = f"the {self.claim.what} is {low if low == high else f'from {low} to {high}'}"
        if self.word == "refuted" and self.claim.sign.startswith(">"):
            near = [
                f"input {at} at {number(one.found)}"
                + (f" (class {one.predicted})" if one.predicted is not None else "")
                for at, one in self.witnesses.items()
            ]
            more = [f"and {len(near) - NAMED} more"] if len(near) > NAMED else []
            said += f"; found: {', '.join([*near[:NAMED], *more])}" if near else ""
        if self.word == "not decided":
            open_ = self.accuracy.unbroken - self.accuracy.certified
            said += f"; {open_} inputs are neither certified nor attacked" if of_share else ""
        wrong = f"; {len(self.misclassified)} misclassified" if self.misclassified else ""
        return said + wrong

    def to_json(self) -> dict[str, Any]:
        counts = self.accuracy.to_json()
        counts |= {"low": float(self.low), "high": float(self.high), "class": self.claim.label}
        found = [
            {"input": at, "distance": one.found, "predicted": one.predicted, "array": one.array}
            for at, one in self.witnesses.items()
        ]
        head = {"claim": self.claim.text, **self.inputs.where, "outcome": self.word, "why": self.why}
        return {**head, **counts, "witnesses": found, "misclassified": list(self.misclassified)}


def check_claims(
    claims: Sequence[Claim], sets: Sequence[InputSet], models: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Outcome], list[str]]:
    """Every claim of every subject that it speaks of, and what is to be said. models: by name what was found
    when they were loaded.

    Raises `UsageError` for claims of norms, subjects or classes that were not run, and radii of other units.
    """
    outcomes, said = [], []
    for claim in claims:
        chosen = _spoken_of(claim, sets)
        radius = claim.radius if claim.what == "accuracy" else float(claim.value)
        for one in chosen:
            facts = models.get(one.place.model, {})
            said += check_units(radius, claim.norm, facts)
            if claim.label is not None and not 0 <= claim.label < int(facts.get("classes") or math.inf):
                raise UsageError(
                    f"{claim.text!r} speaks of class {claim.label}; {one.place.model} has the classes 0 to"
                    f" {int(facts['classes']) - 1}."
                )
            outcomes.append(
                _outcome(claim, one if claim.label is None else one.of_class(claim.label), radius)
            )
    return outcomes, list(dict.fromkeys(said))


def _spoken_of(claim: Claim, sets: Sequence[InputSet]) -> list[InputSet]:
    """Narrowed in turn, so that the error names what there is."""
    for name, asked in (("norm", claim.norm), ("model", claim.model), ("masker", claim.masker)):
        known = [str(getattr(one.place, name)) for one in sets]
        sets = [one for one, mine in zip(sets, known, strict=True) if not asked or mine == asked]
        if not sets:
            raise UsageError(
                f"{claim.text!r} speaks of the {name} {asked!r}, which was not run."
                f" {did_you_mean(asked, dict.fromkeys(known))}"
            )
    return list(sets)


def _outcome(claim: Claim, one: InputSet, radius: float) -> Outcome:
    at = one.at(radius)
    low: Fraction | float = Fraction(at.certified, at.inputs)
    high: Fraction | float = Fraction(at.unbroken, at.inputs)
    if claim.what != "accuracy":
        spans = one.of_all("certified"), one.of_all("not attacked")
        if spans[0] is None or spans[1] is None:
            raise UsageError(
                f"{claim.text!r}: no input is classified as labelled, so there is no {claim.what}."
            )
        low, high = (span[WHAT.index(claim.what) - 1] for span in (spans[0], spans[1]))
    found = sorted((k.found, n) for n, k in one.known.items() if not k.wrong and k.found <= radius)
    near = {n: one.known[n] for _, n in found}
    wrong = tuple(n for n, k in one.known.items() if k.wrong)
    return Outcome(claim, one, at, low, high, near, wrong)


def tabular(outcomes: Iterable[Outcome]) -> Tabular:
    """A line for each claim and subject; the counts are at its radius."""
    rows = []
    for one in outcomes:
        at, name = one.accuracy, " ".join(clean(part) for part in one.inputs.place[:2])
        counts = (f"{count}/{at.inputs}" for count in (at.certified, at.estimated, at.attacked))
        rows.append((one.claim.text, name, one.word, *counts, one.why))
    heads = ("claim", "subject", "outcome", "certified", "estimated", "attacked", "why")
    return Tabular(heads, tuple(rows), styled=2)
