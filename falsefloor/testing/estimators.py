"""The conformance kit of estimators: what the core relies on and cannot always see while a study runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from falsefloor.api import Cancelled, Estimator, Norm, NotApplicable
from falsefloor.engine.context import ROWS
from falsefloor.engine.contract import rows_for, told_besides
from falsefloor.subjects.settle import settle
from falsefloor.testing.claims import (
    ROUNDING,
    Trial,
    curved,
    drawn_linear,
    forgets,
    proves,
    same_elsewhere,
    says_something,
)
from falsefloor.testing.common import Case, Result, bound, common_cases, require, run_cases
from falsefloor.testing.drawn import kit_seed
from falsefloor.testing.honesty import behind_a_staircase, below_a_trap
from falsefloor.testing.problems import linear
from falsefloor.testing.watches import own_randomness, quiet

CHUNK = 32
"""Inputs that a study hands over at once, as it comes."""
SAME_BITS = "{what} changes the radii: {left} against {right}"


def check_estimator(
    estimator: Estimator,
    *,
    expected_failures: Mapping[str, str] | None = None,
    raises: bool = True,
    seed: int | None = None,
) -> list[Result]:
    """Run every check on an estimator, for each norm it declares.

    expected_failures maps a check's name to the reason why its failure is accepted. seed: draws the networks
    again that a message named; they are drawn anew without. Raises `ConformanceError` naming what failed,
    unless ``raises`` is False; the results are returned either way.
    """
    name = type(estimator).__name__
    cases = estimator_cases(estimator, seed=seed)
    return run_cases(cases, expected_failures=expected_failures, raises=raises, name=name)


def estimator_cases(estimator: Estimator, *, seed: int | None = None) -> list[Case]:
    """The named checks, not yet run."""
    cases = common_cases("estimator", estimator)
    norms: list[Norm] = sorted(getattr(estimator, "norms", ()))
    touched: list[str] = []
    drawn = kit_seed() if seed is None else seed
    trials = [Trial(estimator, norm, drawn, touched=touched) for norm in norms]
    for trial in trials:
        made = [bound(check, trial) for check in _EACH_NORM]
        cases += [replace(case, name=f"{case.name} [{trial.norm}]") for case in made]
    if norms:
        cases += [bound(check, trials[-1]) for check in _ONCE]
        cases.append(Case("answers some of its problems", lambda: _answers(trials)))
    return cases


def _shapes(trial: Trial) -> None:
    """shapes and numbers"""
    trial.plain()


def _linear(trial: Trial) -> None:
    """right on a linear model"""
    trial.right(trial.plain(), linear())


def _witness(trial: Trial) -> None:
    """the witness changes the class where it is said to"""
    estimate, problem = trial.plain(), linear()
    if estimate.witness is None:
        raise NotApplicable("no witness is returned, and a lower claim needs none")
    settled = settle(problem.subject(), problem.inputs, problem.labels, estimate.witness, norm=trial.norm)
    found = estimate.radius.detach().double().cpu().isfinite()
    require(found.any() or trial.estimator.claim != "upper_bound", "finds nothing on a linear model")
    require(
        settled.ok.cpu()[found].all(),
        f"witnesses do not change the class when replayed alone (settled: {settled.ok.tolist()})",
    )
    if trial.estimator.claim == "upper_bound":
        radius, real = estimate.radius.detach().double().cpu()[found], settled.radius.cpu()[found]
        require(
            ((radius - real).abs() <= 10 * ROUNDING * real + 1e-6).all(),
            f"says {radius.tolist()}, its witnesses lie at {real.tolist()}",
        )


def _honest(trial: Trial) -> None:
    """honest behind a staircase"""
    behind_a_staircase(trial.estimator, trial.norm)


def _trapped(trial: Trial) -> None:
    """stays below a planted trap"""
    below_a_trap(trial.estimator, trial.norm)


def _deterministic(trial: Trial) -> None:
    """same generators, same bits"""
    _equal(trial.plain().radius, trial.run().radius, what="a second run")


def _randomness(trial: Trial) -> None:
    """no randomness but the context's"""
    with own_randomness():
        trial.run()


def _neighbours(trial: Trial) -> None:
    """independent of neighbours"""
    together = trial.plain().radius
    alone = torch.cat([trial.run(chosen=[i]).radius for i in range(len(together))])
    _equal(together, alone, what="estimating one input at a time")
    backwards = list(reversed(range(len(together))))
    _equal(together, trial.run(chosen=backwards).radius[backwards], what="another order of the inputs")


def _crowd(trial: Trial) -> None:
    """the same in a full chunk"""
    few = trial.plain().radius.detach().double().cpu()
    many = [at % len(few) for at in range(CHUNK)]
    crowded = trial.run(chosen=many).radius.detach().double().cpu()
    require(
        torch.isclose(crowded, few[many], rtol=ROUNDING, atol=0.0).all(),
        f"says {few.tolist()} of {len(few)} inputs and {crowded[: len(few)].tolist()} of them among {CHUNK}",
    )


def _rows(trial: Trial) -> None:
    """no forward takes more than context.rows"""
    problem = linear()
    subject = problem.subject()
    estimate = trial.run(problem, subject=subject, rows=16)
    require(subject.largest <= 16, f"asked for {subject.largest} points at once with context.rows = 16")
    trial.right(estimate, problem)


def _model(trial: Trial) -> None:
    """the model is left as it was"""
    trial.plain()
    require(not trial.touched, trial.touched[0] if trial.touched else "")


def _prints(trial: Trial) -> None:
    """prints nothing"""
    with quiet():
        trial.run()


def _progress(trial: Trial) -> None:
    """progress goes forward"""
    seen: list[tuple[int, int, dict[str, list[float]]]] = []
    trial.run(sink=lambda done, total, series: seen.append((done, total, series)))
    require(seen, "never calls context.progress, so it can neither be watched nor cancelled")
    steps = [done for done, _, _ in seen]
    require(steps == sorted(steps), f"progress goes back: {steps[:20]}")
    require(all(0 <= done <= total for done, total, _ in seen), "progress counts beyond its total")
    count = len(linear().labels)
    for name, values in ((name, v) for _, _, series in seen for name, v in series.items()):
        require(len(values) == count, f"the series {name!r} has {len(values)} values for {count} inputs")


def _cancelled(trial: Trial) -> None:
    """a cancellation passes through"""

    def cancel(_done: int, _total: int, _series: dict[str, list[float]]) -> None:
        raise Cancelled

    try:
        trial.run(sink=cancel)
    except Cancelled:
        return
    require(False, "goes on after context.progress raised Cancelled; let it pass through")


def _double(trial: Trial) -> None:
    """right in float64"""
    problem = linear(torch.float64)
    trial.right(trial.run(problem), problem)


def _accelerator(trial: Trial) -> None:
    """right on an accelerator"""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no CUDA device here")
    problem = linear(device="cuda")
    trial.right(trial.run(problem), problem)


def _members(trial: Trial) -> None:
    """what it offers besides can be used"""
    estimator, estimate = trial.estimator, trial.plain()
    rows_for(estimator, ROWS, name=trial.name)
    told = told_besides(estimator, estimate, name=trial.name)
    for what, declared, given in (
        ("columns", getattr(estimator, "columns", {}), told.evidence),
        ("axes", getattr(estimator, "axes", {}), told.curves),
    ):
        missing = sorted(set(declared) - set(given))
        require(not missing, f"declares {what} for {', '.join(missing)}, which its estimates do not have")
    if (each := estimate.per_target) is not None:
        exact = linear().by_class(trial.norm)
        require(each.shape == exact.shape, f"gives per_target {(*each.shape,)}, not {(*exact.shape,)}")
        named = each.detach().double().cpu()
        named = torch.where(
            named.isfinite() & exact.isfinite(), named, exact
        )  # none is told, or its own class
        trial.held(replace(estimate, radius=named), exact, what="a linear model, by class")


def _equal(left: Tensor, right: Tensor, *, what: str) -> None:
    same = torch.equal(left.detach().cpu(), right.detach().cpu())
    require(same, SAME_BITS.format(what=what, left=left.tolist(), right=right.tolist()))


def _still(trial: Trial) -> None:
    """the same after all that"""
    _equal(trial.plain().radius, trial.run().radius, what="what was asked in between")


def _answers(trials: Sequence[Trial]) -> str:
    for trial in trials:
        if not trial.answered + len(trial.declined):
            with suppress(NotApplicable):
                trial.plain()
    declined = [words for trial in trials for words in trial.declined]
    count = sum(trial.answered for trial in trials)
    require(count, f"declines every problem there is, so that nothing was checked: {declined[:1]}")
    return f"{count} problems answered, {len(declined)} declined"


_EACH_NORM: tuple[Callable[[Trial], str | None], ...] = (
    _shapes,
    _linear,
    _witness,
    drawn_linear,
    says_something,
    curved,
    proves,
    _honest,
    _trapped,
)
_ONCE: tuple[Callable[[Trial], str | None], ...] = (
    _deterministic,
    _randomness,
    _neighbours,
    _crowd,
    _rows,
    _model,
    _prints,
    _progress,
    _cancelled,
    _double,
    _accelerator,
    forgets,
    same_elsewhere,
    _members,
    _still,
)
