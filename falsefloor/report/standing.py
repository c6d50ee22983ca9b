"""What stands behind a number at one input: how much is proved, how much estimated, what was found, which
share of the claimed ball is bounded. One value, its sentences, and one picture of it on one axis.

Every surface says and paints these. The verdict's sentence names which of the three kinds of number it rests
on, so that an estimate that held is not read as a proof.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.checks.verdicts import is_lower
from falsefloor.evidence import Evidence
from falsefloor.jsonable import as_number
from falsefloor.report import scale
from falsefloor.report.cells import grouped
from falsefloor.report.figure import Curve, Figure
from falsefloor.report.text import Glyphs, clean, glyphs_for, number

DOUBTED = ("refuted", "suspect")
LIMITS = "docs/limits.md"
"""Where stands, in numbers, what an estimate that held may not have seen."""
MARKS = (
    ("proved", "green", "square"),
    ("estimated", "blue", "circle"),
    ("another class found", "purple", "triangle"),
    ("false floor", "red", "cross"),
)
"""Of a picture: what a number is, its hue and its marker."""
MOST_ROWS = 60
"""Inputs in one picture: the nearest ceilings first are those that a reader looks for."""


@dataclass(frozen=True)
class Share:
    """Of ``drawn`` uniform points in the claimed ball ``other`` do not have the input's class; at 95 %, less
    than ``bound`` of it."""

    drawn: int
    other: int
    bound: float

    def words(self) -> str:
        if not self.drawn:
            return (
                "no uniform point of the ball lies in the domain (a corner of it): nothing is said of a share"
            )
        found = "none" if not self.other else f"{self.other:,}"
        verb = "answer" if self.other > 1 else "answers"
        return (
            f"{found} of {self.drawn:,} uniform points of the ball {verb} otherwise:"
            f" at 95 %, less than {percent(self.bound)} of it"
        )


def percent(bound: float) -> str:
    """An upper bound of a share in two digits, rounded up: 0.29912 % is less than 0.3 %."""
    whole = 100 * bound
    told = float(f"{whole:.2g}")
    if told < whole:
        told += 10 ** (math.floor(math.log10(whole)) - 1)
    return f"{told:.3g} %"


@dataclass(frozen=True)
class Standing:
    """Of one subject and input, by whoever claims most that nothing contradicts; None where there is none.

    refuted: the largest lower claim that is false. share: of the estimate in question, else of the largest.
    """

    name: str
    proved: float | None = None
    estimated: float | None = None
    ceiling: float | None = None
    refuted: float | None = None
    share: Share | None = None

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """In the order of `MARKS`."""
        return self.proved, self.estimated, self.ceiling, self.refuted

    def words(self) -> str:
        """ "estimated 0.0930, proved 0.0790, found at 0.1060"."""
        parts = []
        if self.estimated is not None:
            parts.append(f"estimated {number(self.estimated)}")
        parts.append("nothing proved" if self.proved is None else f"proved {number(self.proved)}")
        if self.ceiling is not None:
            parts.append(f"another class found at {number(self.ceiling)}")
        return ", ".join(parts)


def share(record: Mapping[str, Any]) -> Share | None:
    """What uniform points say of an estimate's ball; None where none were drawn."""
    known = Evidence.read(record.get("evidence") or {})
    if known.share_points is None:
        return None
    return Share(
        int(known.share_points),
        int(known.share_other or 0),
        1.0 if known.share_bound is None else known.share_bound,
    )


def standing(
    records: Sequence[Mapping[str, Any]], *, of: Mapping[str, Any] | None = None, name: str = ""
) -> Standing:
    """What the estimates of one subject and input say together; ``of``: the one that is looked at."""
    lower = [(r, radius) for r in records if is_lower(r["claim"]) and (radius := _radius(r)) is not None]
    sound = [(r, radius) for r, radius in lower if r["verdict"] not in DOUBTED]
    false = [radius for r, radius in lower if r["verdict"] == "refuted"]
    proved = [radius for r, radius in sound if r["claim"] == "lower_bound"]
    estimates = [(r, radius) for r, radius in sound if r["claim"] == "lower_estimate"]
    own = [(r, radius) for r, radius in estimates if of is not None and r["id"] == of["id"]]
    best = (own or sorted(estimates, key=lambda pair: pair[1]))[-1:]
    found = [
        radius
        for r in records
        if r["claim"] == "upper_bound" and r["witness"] and (radius := _radius(r)) is not None
    ]
    told = of if of is not None and is_lower(of["claim"]) else best[0][0] if best else None
    return Standing(
        name,
        max(proved, default=None),
        best[0][1] if best else None,
        min(found, default=None),
        max(false, default=None),
        share(told) if told is not None else None,
    )


def rests(record: Mapping[str, Any], known: Standing) -> str:
    """Which kind of number the verdict of an estimate rests on, as a sentence; empty where it has none."""
    verdict, claim = record["verdict"], record["claim"]
    if _radius(record) is None or not verdict:
        return ""
    if verdict == "refuted":
        return "It rests on a point that was found: the claim is false, whatever else is estimated."
    if claim == "upper_bound":
        return "It rests on a point that was found: the distance is at most this."
    if claim == "lower_bound":
        if verdict in DOUBTED:
            return "It claims a proof, which is in doubt."
        return "It rests on a proof: no input of another class is nearer."
    unseen = f" What may stay unseen: {LIMITS}." if verdict == "held" else ""
    beside = "nothing is proved here" if known.proved is None else f"{number(known.proved)} is proved"
    return f"It rests on an estimate; {beside}.{unseen}"


def sentences(record: Mapping[str, Any], known: Standing) -> Iterator[str]:
    """What stands behind an estimate: what it rests on, the kinds of numbers, the share of the ball."""
    if rest := rests(record, known):
        yield rest
    if known.proved is not None or known.estimated is not None:
        yield known.words()
    if known.share is not None:
        yield known.share.words()


def by_input(records: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """One for each subject and input of a run, those that have a lower number or a ceiling."""
    groups = grouped(records, "model", "masker", "norm", "input")
    names = _names(list(groups))
    known = [standing(group, name=name) for name, group in zip(names, groups.values(), strict=True)]
    return [one for one in known if any(one.numbers)]


def _names(places: Sequence[tuple[str, ...]]) -> list[str]:
    """Places without what is the same in all of them."""
    differ = [len({place[at] for place in places}) > 1 for at in range(3)]
    return [
        clean(
            " ".join(
                [*(word for word, told in zip(place, differ, strict=False) if told), f"input {place[3]}"]
            )
        )
        for place in places
    ]


def picture(known: Sequence[Standing]) -> Figure:
    """All inputs on one axis, a row each: up to the square is proved, up to the circle estimated, at the
    triangle another class was found; a cross is a floor that is false."""
    shown = list(known[:MOST_ROWS])
    curves, keys = [], []
    for at, (name, hue, mark) in enumerate(MARKS):
        points = [
            (value, -float(row)) for row, one in enumerate(shown) if (value := one.numbers[at]) is not None
        ]
        if name == "proved":
            curves = [Curve("proved ", (0.0, x), (y, y), hue) for x, y in points]
        if points:
            keys.append(Curve(name, [x for x, _ in points], [y for _, y in points], hue, mark, line=False))
    reach = [value for one in shown for value in one.numbers if value is not None]
    bounds = [one.share for one in shown if one.share is not None]
    notes = [f"{len(known) - len(shown):,} more inputs are not drawn."] * (len(known) > len(shown))
    if len(bounds) == 1:
        notes.append(f"{bounds[0].words()}.".capitalize())
    elif bounds:
        worst = max((one.bound for one in bounds if one.drawn), default=1.0)
        empty = sum(not one.drawn for one in bounds)
        notes.append(
            f"At 95 %, less than {percent(worst)} of each ball answers otherwise, by uniform points."
            + f" In {empty} of {len(bounds)} no uniform point lay in the domain." * bool(empty)
        )
    return Figure(
        "Proved, estimated, found",
        scale.linear("distance, in the input's own units", [0.0, *reach], zero=True),
        scale.named("", [one.name for one in shown]),
        (*curves, *keys),
        notes=tuple(notes),
        keys=tuple(keys),
        rows=max(1, len(shown)),
    )


def line(known: Standing, *, width: int, top: float, glyphs: Glyphs) -> str:
    """The picture's row in letters."""
    places = [" "] * width

    def at(value: float | None) -> int | None:
        return None if value is None or not top > 0 else min(width - 1, int(value / top * (width - 1)))

    for end, sign in (
        (at(known.ceiling), "."),
        (at(known.estimated), glyphs.line),
        (at(known.proved), glyphs.bar),
    ):
        if end is not None:
            places[: end + 1] = sign * (end + 1)
    for value, sign in ((known.estimated, "o"), (known.ceiling, glyphs.up), (known.refuted, glyphs.cross)):
        if (place := at(value)) is not None:
            places[place] = sign
    return "".join(places).rstrip()


def lines(known: Sequence[Standing], *, width: int, glyphs: Glyphs) -> Iterator[str]:
    """The picture in letters: a legend, then for each input its name, row and words."""
    top = max((value for one in known for value in one.numbers if value is not None), default=0.0)
    yield f"{glyphs.bar} proved  o estimated  {glyphs.up} another class found  {glyphs.cross} false floor"
    name = max((len(one.name) for one in known), default=0)
    for one in known:
        row = line(one, width=max(10, width - name - 2), top=top, glyphs=glyphs)
        yield f"{one.name:<{name}}  {row}".rstrip()
        yield " " * (name + 2) + one.words() + (f"; {one.share.words()}" if one.share else "")


@dataclass(frozen=True)
class Lines:
    """A rich renderable of the picture in letters: it looks at width and encoding when it is drawn."""

    known: Sequence[Standing]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        wide = options.max_width
        unseen = f"What may stay unseen where an estimate held: {LIMITS}"
        for one in (*lines(self.known, width=wide, glyphs=glyphs_for(options.encoding)), unseen):
            yield from (Text(piece) for piece in ([one] if len(one) <= wide else _folded(one, wide)))


def _folded(words: str, width: int) -> list[str]:
    indent = " " * (len(words) - len(words.lstrip()))
    return wrap(words, width, initial_indent=indent, subsequent_indent=indent)


def _radius(record: Mapping[str, Any]) -> float | None:
    """A finite radius above 0 of an estimate that came back, of an input that is classified as labelled."""
    radius = as_number(record["radius"]) if record["status"] == "ok" else None
    return radius if radius is not None and 0 < radius < math.inf else None
