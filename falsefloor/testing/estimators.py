"""The conformance kit of estimators: what the core relies on and cannot always see while a study runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.api import Cancelled, Estimate, Estimator, Norm, NotApplicable
from falsefloor.engine.context import ROWS, RunContext, generators
from falsefloor.engine.contract import check_estimate
from falsefloor.subjects.settle import settle
from falsefloor.testing.common import common_cases, own_randomness, quiet, untouched
from falsefloor.testing.honesty import behind_a_staircase, below_a_trap
from falsefloor.testing.problems import Problem, Watched, linear
from falsefloor.testing.results import Case, Result, require, run_cases

ROUNDING = 1e-4
"""Relative; what float32 and a witness's settling may move a radius on a model of six dimensions."""
SAME_BITS = "{what} changes the radii: {left} against {right}"


def check_estimator(
    estimator: Estimator, *, expected_failures: Mapping[str, str] | None = None, raises: bool = True
) -> list[Result]:
    """Run every check on an estimator, for each norm it declares.

    expected_failures maps a check's name to the reason why its failure is accepted. Raises `ConformanceError`
    naming what failed, unless ``raises`` is False; the results are returned either way.
    """
    name = type(estimator).__name__
    return run_cases(
        estimator_cases(estimator), expected_failures=expected_failures, raises=raises, name=name
    )


def estimator_cases(estimator: Estimator) -> list[Case]:
    """The named checks, not yet run."""
    cases = common_cases("estimator", estimator)
    norms: list[Norm] = sorted(getattr(estimator, "norms", ()))
    for norm in norms:
        trial = _Trial(estimator, norm)
        cases += [Case(f"{check.__doc__} [{norm}]", _bind(check, trial)) for check in _EACH_NORM]
    if norms:
        trial = _Trial(estimator, norms[-1])
        cases += [Case(str(check.__doc__), _bind(check, trial)) for check in _ONCE]
    return cases


@dataclass
class _Trial:
    """An estimator at work on the linear problem in one norm."""

    estimator: Estimator
    norm: Norm
    kept: list[Estimate] = field(default_factory=list)

    def run(
        self,
        problem: Problem | None = None,
        *,
        subject: Watched | None = None,
        rows: int = ROWS,
        sink: Callable[[int, int, dict[str, list[float]]], None] | None = None,
        chosen: slice | list[int] = slice(None),
    ) -> Estimate:
        problem = problem or linear()
        inputs, labels = problem.inputs[chosen].clone(), problem.labels[chosen].clone()
        context = RunContext(generators(inputs, seed=0, norm=self.norm), rows=rows)
        if sink is not None:
            context.sink = sink
        before = inputs.clone()
        estimate = self.estimator(
            subject or problem.subject(), inputs, labels, norm=self.norm, context=context
        )
        check_estimate(
            estimate, inputs, before, labels, claim=self.estimator.claim, name=type(self.estimator).__name__
        )
        return estimate

    def plain(self) -> Estimate:
        """The estimate on the linear problem; computed once."""
        if not self.kept:
            self.kept.append(self.run())
        return self.kept[0]

    def right(self, estimate: Estimate, problem: Problem) -> None:
        """Held against the closed form: a lower claim never above, an upper claim never below."""
        exact = problem.distances(self.norm).cpu()
        radius = estimate.radius.detach().double().cpu()
        if self.estimator.claim == "upper_bound":
            wrong, side = radius < exact * (1 - ROUNDING), "below"
        else:
            wrong, side = radius > exact * (1 + ROUNDING), "above"
        require(
            not wrong.any(),
            f"claims {self.estimator.claim} {radius.tolist()}, {side} the exact distances {exact.tolist()} of"
            " a linear model",
        )


def _bind(check: Callable[[_Trial], None], trial: _Trial) -> Callable[[], None]:
    return lambda: check(trial)


def _shapes(trial: _Trial) -> None:
    """shapes and numbers"""
    trial.plain()


def _linear(trial: _Trial) -> None:
    """right on a linear model"""
    trial.right(trial.plain(), linear())


def _witness(trial: _Trial) -> None:
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


def _honest(trial: _Trial) -> None:
    """honest behind a staircase"""
    behind_a_staircase(trial.estimator, trial.norm)


def _trapped(trial: _Trial) -> None:
    """stays below a planted trap"""
    below_a_trap(trial.estimator, trial.norm)


def _deterministic(trial: _Trial) -> None:
    """same generators, same bits"""
    _equal(trial.plain().radius, trial.run().radius, what="a second run")


def _randomness(trial: _Trial) -> None:
    """no randomness but the context's"""
    with own_randomness():
        trial.run()


def _neighbours(trial: _Trial) -> None:
    """independent of neighbours"""
    together = trial.plain().radius
    alone = torch.cat([trial.run(chosen=[i]).radius for i in range(len(together))])
    _equal(together, alone, what="estimating one input at a time")
    backwards = list(reversed(range(len(together))))
    _equal(together, trial.run(chosen=backwards).radius[backwards], what="another order of the inputs")


def _rows(trial: _Trial) -> None:
    """no forward takes more than context.rows"""
    problem = linear()
    subject = problem.subject()
    estimate = trial.run(problem, subject=subject, rows=16)
    require(subject.largest <= 16, f"asked for {subject.largest} points at once with context.rows = 16")
    trial.right(estimate, problem)


def _model(trial: _Trial) -> None:
    """the model is left as it was"""
    subject = linear().subject()
    with untouched(subject):
        trial.run(subject=subject)


def _prints(trial: _Trial) -> None:
    """prints nothing"""
    with quiet():
        trial.run()


def _progress(trial: _Trial) -> None:
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


def _cancelled(trial: _Trial) -> None:
    """a cancellation passes through"""

    def cancel(_done: int, _total: int, _series: dict[str, list[float]]) -> None:
        raise Cancelled

    try:
        trial.run(sink=cancel)
    except Cancelled:
        return
    require(False, "goes on after context.progress raised Cancelled; let it pass through")


def _double(trial: _Trial) -> None:
    """right in float64"""
    problem = linear(torch.float64)
    trial.right(trial.run(problem), problem)


def _accelerator(trial: _Trial) -> None:
    """right on an accelerator"""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no CUDA device here")
    problem = linear(device="cuda")
    trial.right(trial.run(problem), problem)


def _equal(left: Tensor, right: Tensor, *, what: str) -> None:
    same = torch.equal(left.detach().cpu(), right.detach().cpu())
    require(same, SAME_BITS.format(what=what, left=left.tolist(), right=right.tolist()))


_EACH_NORM = (_shapes, _linear, _witness, _honest, _trapped)
_ONCE = (
    _deterministic,
    _randomness,
    _neighbours,
    _rows,
    _model,
    _prints,
    _progress,
    _cancelled,
    _double,
    _accelerator,
)
