"""What a run says of its inputs as a set: robust accuracy at a radius, between what is proved and was found.

At radius r an input withstands if no point within r, r included, is of another class. So it is certified
where a proof reaches further than r, attacked where a point was found within r; a misclassified input
withstands nothing. The exact share lies between the certified and the unbroken one whatever else is true;
estimates stand beside both and decide nothing. Over other inputs drawn alike, the exact binomial interval
(Clopper & Pearson 1934) is laid around both ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from falsefloor.checks.verdicts import Place
from falsefloor.errors import UsageError
from falsefloor.jsonable import as_number
from falsefloor.observed import Observed
from falsefloor.report.listings import Tabular
from falsefloor.report.standing import DOUBTED
from falsefloor.report.text import clean, number
from falsefloor.store.cells import is_wrong
from falsefloor.store.reader import RunReader
from falsefloor.store.standing import ENDED

LEVEL = 0.95
"""Of the interval over other inputs."""
KINDS = (("certified", "square"), ("estimated", "circle"), ("not attacked", ""))
"""What is counted of a set at a radius, and its marker."""


@dataclass
class Known:
    """One input: how far a proof reaches, and the largest floor that stands; the nearest point found, with
    its class and the name of its stored array."""

    label: int | None = None
    wrong: bool = False
    proved: float = 0.0
    estimated: float = 0.0
    found: float = math.inf
    predicted: int | None = None
    array: str = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """What one record of the JSON of a run says of it."""
        self.label = record["label"] if self.label is None else self.label
        self.wrong |= is_wrong(record["label"], record["predicted"])
        radius = as_number(record["radius"]) if record["status"] == "ok" else None
        if radius is None or math.isnan(radius):
            return
        if record["claim"] == "upper_bound":
            if record["witness"]:
                self.meet(radius, record["witness"])
        elif record["verdict"] not in DOUBTED:
            # a proof of another function, a smoothed one for example, says nothing of this one
            proof = record["claim"] == "lower_bound" and not (record.get("evidence") or {}).get("about")
            self.proved = max(self.proved, radius if proof else 0.0)
            self.estimated = max(self.estimated, radius)
        for warning in record["warnings"]:
            if warning["severity"] == "refuted" and warning["witness"]:
                distance = as_number(warning["witness"].get("distance"))
                self.meet(math.inf if distance is None else distance, warning["witness"])

    def stands(self, radius: float) -> bool:
        """Whether nothing that was found breaks it at this radius."""
        return not self.wrong and self.found > radius

    @property
    def blank(self) -> bool:
        """Whether nothing came back of an input that could withstand."""
        return not (self.wrong or self.proved or self.estimated or self.found < math.inf)

    def meet(self, distance: float, witness: Any) -> None:
        """A verified point of another class."""
        if distance < self.found:
            told = witness if isinstance(witness, Mapping) else {"array": witness}
            self.found, self.predicted, self.array = distance, told.get("predicted"), str(told.get("array"))


@dataclass(frozen=True)
class Accuracy:
    """How many of ``inputs`` withstand a radius: ``certified`` at least, ``unbroken`` at most.

    estimated: certified ones with those of which only an estimate that stands says so; wrong: misclassified.
    """

    radius: float
    inputs: int
    certified: int
    estimated: int
    unbroken: int
    wrong: int

    @property
    def bracket(self) -> tuple[float, float]:
        """Where the exact share over these inputs lies: proved on both sides."""
        return self.certified / self.inputs, self.unbroken / self.inputs

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share over all inputs like these lies, at 95 %."""
        return binomial(self.certified, self.inputs)[0], binomial(self.unbroken, self.inputs)[1]

    @property
    def attacked(self) -> int:
        """Classified as labelled, and broken by a point that was found within the radius."""
        return self.inputs - self.unbroken - self.wrong

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("certified", "estimated", "attacked", "wrong")}
        ends = {"bracket": list(self.bracket), "interval": list(self.interval), "level": LEVEL}
        return {"radius": self.radius, "inputs": self.inputs, "unbroken": self.unbroken, **counts, **ends}


@dataclass(frozen=True)
class InputSet:
    """All inputs of a subject under a norm, those too of which nothing came back. going: more may come."""

    place: Place
    known: Mapping[int, Known]
    going: bool = False

    @property
    def total(self) -> int:
        return len(self.known)

    @property
    def where(self) -> dict[str, str]:
        """Its place as JSON."""
        return {"model": self.place.model, "masker": self.place.masker, "norm": self.place.norm}

    def at(self, radius: float) -> Accuracy:
        """Raises `UsageError` for a set without inputs."""
        if not self.total:
            of = f" of class {self.place.label}" if self.place.label else ""
            raise UsageError(f"{self.name} has no inputs{of}: there is no accuracy of none.")
        unbroken = [one for one in self.known.values() if one.stands(radius)]
        certified = sum(one.proved > radius or radius == 0 for one in unbroken)
        estimated = sum(max(one.proved, one.estimated) >= radius for one in unbroken)
        wrong = sum(one.wrong for one in self.known.values())
        return Accuracy(radius, self.total, certified, estimated, len(unbroken), wrong)

    @property
    def unknown(self) -> int:
        return sum(one.blank for one in self.known.values())

    @property
    def name(self) -> str:
        return " ".join(clean(part) for part in self.place[:3])

    def of_class(self, label: int) -> InputSet:
        """The inputs of one class."""
        known = {at: one for at, one in self.known.items() if one.label == label}
        return replace(self, place=self.place._replace(label=str(label)), known=known)

    def radii(self, kind: str) -> list[float]:
        """In order, of each input that is classified as labelled: what is certified, estimated or found."""
        right = [one for one in self.known.values() if not one.wrong]
        if kind == "not attacked":
            return sorted(one.found for one in right)
        if kind == "certified":
            return sorted(one.proved for one in right)
        return sorted(min(max(one.estimated, one.proved), one.found) for one in right)

    def of_all(self, kind: str) -> tuple[float, float] | None:
        """Minimum and median, over the inputs that are classified as labelled; None where none is."""
        radii = self.radii(kind)
        return (radii[0], median(radii)) if radii else None

    def to_json(self, radii: Sequence[float]) -> dict[str, Any]:
        spans = {kind: self.of_all(kind) for kind, _ in KINDS}
        summary = {
            kind.replace(" ", "_"): None if span is None else {"minimum": span[0], "median": span[1]}
            for kind, span in spans.items()
        }
        at = [self.at(radius).to_json() for radius in radii]
        return {**self.where, "inputs": self.total, "unknown": self.unknown, "radii": summary, "at": at}


def input_sets(
    records: Iterable[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    going: bool = False,
) -> list[InputSet]:
    """A set for each subject and norm, in the order of the records. models: by name what was found when they
    were loaded, so that inputs count of which no record came."""
    found: dict[Place, dict[int, Known]] = {}
    for record in records:
        place = Place(record["model"], record["masker"], record["norm"])
        if place not in found:
            facts = (models or {}).get(place.model, {})
            labels, answers = (facts.get(name) or () for name in ("labels", "predicted"))
            planned = enumerate(zip(labels, answers, strict=False))
            found[place] = {at: Known(label, is_wrong(label, given)) for at, (label, given) in planned}
        found[place].setdefault(record["input"], Known()).add(record)
    return [InputSet(place, known, going) for place, known in found.items()]


def read_sets(reader: RunReader) -> list[InputSet]:
    """Of a run as it stands now. Raises `UsageError` where nothing came back yet."""
    if sets := sets_so_far(reader):
        return sets
    info = reader.info()
    raise UsageError(f"run {info.id} is {info.status} and has no estimates: there is nothing to count.")


def sets_so_far(reader: RunReader) -> list[InputSet]:
    """Of a run as it stands now; none where nothing came back yet."""
    going = reader.info().status not in ENDED
    sets = input_sets(reader.estimates(), reader.models(), going=going)
    at = {one.place: one.known for one in sets}
    for seen in reader.observations():
        known = at.get(Place(seen["model"], seen["masker"], seen["norm"]), {}).get(seen["input"])
        observed = Observed.read(seen["facts"])
        if known is not None and (met := observed.met.changed) is not None and met.distance is not None:
            known.meet(met.distance, {"array": observed.array(met.array)})
    return sets


def document(run: str, sets: Sequence[InputSet], radii: Sequence[float]) -> dict[str, Any]:
    """falsefloor.accuracy/1."""
    return {"schema": "falsefloor.accuracy/1", "run": run, "sets": [one.to_json(radii) for one in sets]}


def tabular(sets: Sequence[InputSet], radii: Sequence[float]) -> Tabular:
    """A line for each subject and radius."""
    rows = []
    for one in sets:
        for at in map(one.at, radii):
            shares = (percent(count, at.inputs) for count in (at.certified, at.estimated, at.unbroken))
            ends = (f"{100 * low:.1f} to {100 * high:.1f} %" for low, high in (at.bracket, at.interval))
            rows.append((one.name, number(at.radius), *shares, *ends))
    heads = ("subject", "radius", "certified", "estimated", "not attacked", "these inputs", "others, 95 %")
    return Tabular(heads, tuple(rows), tuple(_notes(sets)))


def _notes(sets: Sequence[InputSet]) -> Iterator[str]:
    for one in sets:
        wrong = sum(known.wrong for known in one.known.values())
        parts = [f"{one.total} inputs"] + [f"{wrong} misclassified, which withstand nothing"] * bool(wrong)
        if one.unknown or one.going:
            parts.append(f"of {one.unknown} nothing is known" + " yet: the run goes on" * one.going)
        for kind, _ in KINDS:
            if (span := one.of_all(kind)) is not None and any(0 < end < math.inf for end in span):
                word = "nearest point found" if kind == "not attacked" else kind
                ends = ("none" if end == math.inf else number(end) for end in span)
                parts.append(
                    f"{word}: " + ", ".join(map(" ".join, zip(("minimum", "median"), ends, strict=True)))
                )
        yield f"{one.name}: {'; '.join(parts)}"


def percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def binomial(count: int, of: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a share that was seen ``count`` times ``of`` times (Clopper & Pearson 1934)."""
    return _least(count, of, (1 - level) / 2), 1 - _least(of - count, of, (1 - level) / 2)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the median of all values like these lies, by their order alone; None for fewer than six."""
    ordered, tail = sorted(values), (1 - LEVEL) / 2
    count = len(ordered)
    below, term = 0.0, 0.5**count if count < 1000 else 0.0
    rank = 0
    while term and rank < count // 2 and below + term <= tail:
        below += term
        term *= (count - rank) / (rank + 1)
        rank += 1
    if count >= 1000:  # where the normal law is the binomial one to three digits
        rank = math.floor(count / 2 - 1.96 * math.sqrt(count) / 2)
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


def _least(count: int, of: int, tail: float) -> float:
    """The share at which ``count`` or more of ``of`` have the probability ``tail``."""
    low, high = 0.0, count / of
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(count, of, middle) < tail else (low, middle)
    return low


def _at_least(count: int, of: int, share: float) -> float:
    """P(X >= count) of a binomial X with a mean below ``count``: its terms fall from the first on."""
    ways = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    term = math.exp(ways + count * math.log(share) + (of - count) * math.log1p(-share))
    total = 0.0
    for n in range(count, of + 1):
        total += term
        term *= (of - n) / (n + 1) * share / (1 - share)
        if term < 1e-15 * total:
            break
    return total
