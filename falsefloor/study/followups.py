"""Follow-ups: what stored facts ask to be computed beside what a study names. One pure rule a kind.

    resample  a score that may be luck (FF104, FF302), with more samples
    recover   a floor that is doubted for the gradient it followed, through one that the function confirms
    closer    the attack again, where its bound is loose (FF505) or hardly above a floor that is held
    trap      each estimator on a class change planted behind our own maskers (FF205)

What computes one is found under the same name in `falsefloor.engine.unit.KINDS`; a recovery is an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from falsefloor.api import Scalar
from falsefloor.checks.verdicts import Place, is_lower
from falsefloor.plugins import Catalogue
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, claimed

TIMES = 4
"""How many times the samples a resampling takes."""
CODES = ("FF104", "FF302")
"""What asks for one: a steep piece that few samples meet; a maximum that was still growing."""
DOUBTED = frozenset(("refuted", "suspect"))
NEAR = 0.95
"""From this share of the ceiling on a floor that is held is looked at again: behind soft steps the attack may
stop a tenth short, and what lies between would be believed."""
MASKED = ("FF101", "FF102", "FF103", "FF104", "FF402", "FF502")
"""What a doubt must name, as more than a note, for a repair to be asked for: something hides the gradient."""
RECOVERED = "{} (recovered)"
"""The label of the series that estimates again with a repaired gradient."""


class Floor(NamedTuple):
    """A judged lower estimate of one input; backward: its backward queries; masked: one of `MASKED` fired."""

    place: Place
    gradient: str
    recovers: str | None
    verdict: str
    backward: int
    masked: bool = False


class Ceiling(NamedTuple):
    """An attack's upper bound at one input, the nearest there. point: its adversarial input, or a nearer one
    that is known, as {"dtype", "data"}; distance: that point's. floor: the largest estimate that is held."""

    place: Place
    distance: float
    floor: float | None
    point: Mapping[str, str]


@dataclass(frozen=True)
class Known:
    """What is stored of a run, as far as the rules look at it.

    floors: in the table's order; fired: where one of `CODES` did; first: each subject's first input that was
    observed and is classified as labelled; asked: by kind, what was asked for already, whatever became of it;
    ceilings: those that are loose or near a floor.
    """

    floors: Sequence[Floor] = ()
    fired: Collection[Place] = ()
    first: Mapping[Place, int] = field(default_factory=dict)
    asked: Mapping[str, Collection[Place]] = field(default_factory=dict)
    ceilings: Sequence[Ceiling] = ()

    def new(self, kind: str, places: Collection[Place]) -> dict[Place, set[int]]:
        """Cell to the inputs of those places that this kind was not asked for yet."""
        done = self.asked.get(kind, ())
        wanted: dict[Place, set[int]] = {}
        for place in places:
            if place not in done:
                wanted.setdefault(place.cell, set()).add(place.input)
        return wanted


Rule: TypeAlias = Callable[[Known, Study, Sequence[Series], Catalogue], list[Unit]]


def resamples(known: Known, study: Study, series: Sequence[Series], installed: Catalogue) -> list[Unit]:
    """One unit for each run of inputs on which one of `CODES` fired, in the table's order.

    The same estimator with its own ``samples`` times `TIMES`, and everything else as it was. An estimator
    without a whole number of that name is not asked, whoever wrote it, nor one whose options allow no more.
    A repaired estimate is, through its repaired gradient. Exactly the inputs that fired are, so that the
    chunk decides how they are cut into units and not which they are.
    """
    wanted = known.new("resample", known.fired)
    units = []
    for one in (one for raw in series for one in (raw, recovered(raw))):
        numbers = wanted.get(one.place, set())
        params = _more(one) if numbers else None
        if params is not None and installed.accepts(one.estimator.use, params):
            units += [
                _beside(one, study, chunk, "resample", params=params, times=TIMES)
                for chunk in runs(numbers, longest=study.chunk)
            ]
    return units


def recoveries(known: Known, study: Study, series: Sequence[Series], installed: Catalogue) -> list[Unit]:
    """Estimates to be made again through a gradient that the function confirms, in the table's order.

    Of every lower claim that followed autograd: for ``recover = "suspect"`` exactly the inputs at which one
    was refuted or is suspect and something was found that hides the gradient, for "on" all, for "off" none;
    so that the chunk decides how they are cut into units and not which they are. A repaired estimate asks for
    nothing further.
    """
    del installed
    if study.recover == "off":
        return []
    followed = [
        floor.place
        for floor in known.floors
        if floor.gradient == "autograd" and floor.recovers is None and floor.backward > 0
        if study.recover == "on" or (floor.masked and floor.verdict in DOUBTED)
    ]
    wanted = known.new("recover", followed)
    units = []
    for raw in series:
        again = recovered(raw)
        units += [
            Unit("follow-up", raw.model, raw.stack, raw.norm, study.inputs, chunk, study.seed, series=again)
            for chunk in runs(wanted.get(raw.place, set()), longest=study.chunk)
        ]
    return units


def traps(known: Known, study: Study, series: Sequence[Series], installed: Catalogue) -> list[Unit]:
    """One trap unit for each estimator at each subject's first judged input, where the study wants traps.

    One input is enough to test an estimator, and costs about as much as its estimate. A stranger's masker may
    place what is wrapped somewhere else than the trap expects, so only our own stacks are tested; estimators
    are, whoever wrote them. A repaired estimate is not: its gradient was chosen for the real subject.
    """
    if not study.trap:
        return []
    places = []
    for one in series:
        first = known.first.get(one.place.subject)
        ours = all(installed.is_own("masker", layer.use) for layer in one.stack.layers)
        if first is not None and ours and not _repaired(one):
            places.append(one.place._replace(input=first))
    wanted = known.new("trap", places)
    return [
        _beside(one, study, (number, number + 1), "trap", params=one.params)
        for one in series
        for number in wanted.get(one.place, ())
    ]


def closer(known: Known, study: Study, series: Sequence[Series], installed: Catalogue) -> list[Unit]:
    """The attack again from the nearest known point and from the shell of the largest floor that is held,
    which it may still prove wrong; once an input."""
    del installed
    found = {one.place: one for one in known.ceilings}
    wanted = known.new("closer", found)
    units = []
    for one in series:
        for chunk in runs(wanted.get(one.place, set()), longest=study.chunk):
            here = [found[one.place._replace(input=number)] for number in range(*chunk)]
            unit = _beside(one, study, chunk, "closer", params=one.params)
            asked = {
                **(unit.extra or {})["closer"],
                "known": [{**near.point, "distance": near.distance} for near in here],
                "floor": [near.distance if near.floor is None else near.floor for near in here],
            }
            units.append(replace(unit, extra={"closer": asked}))
    return units


RULES: Mapping[str, Rule] = {"resample": resamples, "recover": recoveries, "closer": closer, "trap": traps}


def follow_ups(known: Known, study: Study, series: Sequence[Series], installed: Catalogue) -> list[Unit]:
    """Everything that the stored facts ask for now and that was not asked for before."""
    found = {kind: rule(known, study, series, installed) for kind, rule in RULES.items()}
    if found["resample"]:
        found["recover"] = []  # more samples may take the doubt away that a repair would be asked for
    if found["resample"] or found["recover"]:
        found["closer"] = []  # which floors are held is not known yet
    return [unit for units in found.values() for unit in units]


def foreseen(
    study: Study, series: Sequence[Series], judged: Mapping[str, Sequence[int]], installed: Catalogue
) -> list[Unit]:
    """What the rules will ask for as far as that is known before anything is computed.

    judged: model to its inputs that are classified as labelled. Supposed is that maskers change no class,
    that every lower estimate follows autograd, and that no warning fires.
    """
    first = {one.place.subject: judged[one.model.name][0] for one in series if judged.get(one.model.name)}
    floors = [
        Floor(one.place._replace(input=number), one.estimator.gradient, None, "held", backward=1)
        for one in series
        if is_lower(one.claim)
        for number in judged.get(one.model.name, ())
    ]
    return follow_ups(Known(floors=floors, first=first), study, series, installed)


def asked_by(spec: Mapping[str, Any]) -> tuple[str, str] | None:
    """The kind of rule that asked for a unit and the label of the series it did so for; None for others."""
    if spec.get("recovers"):
        return "recover", str(spec["recovers"])
    return next(((kind, str(asked["label"])) for kind, asked in spec.get("extra", {}).items()), None)


def recovered(raw: Series) -> Series:
    """The same estimator with the same parameters, through the first gradient that the function confirms."""
    estimator = replace(raw.estimator, gradient="auto", label=RECOVERED.format(raw.label))
    return replace(raw, estimator=estimator, recovers=raw.label, claim=claimed(raw.claim, estimator.gradient))


def runs(numbers: Collection[int], *, longest: int) -> list[tuple[int, int]]:
    """These numbers as half-open ranges of consecutive ones, in order, none longer than ``longest``."""
    made: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if made and made[-1][1] == number and number - made[-1][0] < longest:
            made[-1] = (made[-1][0], number + 1)
        else:
            made.append((number, number + 1))
    return made


def _repaired(one: Series) -> bool:
    return one.recovers is not None or one.estimator.gradient == "auto"


def _more(one: Series) -> dict[str, Scalar] | None:
    """The complete parameters with more samples; None where there is nothing to multiply."""
    samples = one.params.get("samples")
    if type(samples) is not int or samples < 1:
        return None
    return {**one.params, "samples": samples * TIMES}


def _beside(
    one: Series,
    study: Study,
    chunk: tuple[int, int],
    kind: str,
    *,
    params: Mapping[str, Scalar],
    times: int = 1,
) -> Unit:
    """A follow-up that runs a series' estimator for facts beside its estimates, named by its kind."""
    asked: dict[str, Any] = {
        "label": one.label,
        "use": one.estimator.use,
        "params": dict(params),
        "gradient": one.estimator.gradient,
    }
    if times > 1:
        asked["times"] = times
    place = (one.model, one.stack, one.norm, study.inputs, chunk, study.seed)
    return Unit("follow-up", *place, extra={kind: asked})
