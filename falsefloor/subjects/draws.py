"""A model that answers at random, as the mean of its answers over a fixed set of draws.

The expectation over the model's own randomness (EOT, Athalye et al. 2017, arXiv 1707.07397) with common
random numbers: the same draws for every row, input and call, so that what is judged is one function with one
gradient. The draws are a Latin hypercube (McKay et al. 1979): each number that a forward draws takes every
K-th part of its distribution once in K draws, the lower parts mirrored in the upper ones. So what is linear
in symmetric noise cancels, and what is additive in any noise averages out as 1/K, not as 1/sqrt(K).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

FIRST = 0x0E07
"""Where seeds begin: the draws belong to the model and not to the study, as its weights do."""
FRESH = 5
"""Sets of draws that nothing was searched with, of which a ceiling's interval is made."""
DEVIATIONS = 2.78
"""Standard errors on each side: 95 % by Student's law with as many sets."""
KINDS = {
    "normal_": "normal", "randn": "normal", "randn_like": "normal", "normal": "normal",
    "uniform_": "uniform", "rand": "uniform", "rand_like": "uniform",
    "randint": "whole", "randint_like": "whole", "bernoulli": "coin", "bernoulli_": "coin",
}  # fmt: skip
"""Operations that are drawn as a Latin hypercube; others torch draws, each by a seed of its own."""
KEPT = 4096
"""Numbers of one operation that are kept from call to call at most."""


@dataclass(frozen=True)
class Draw:
    """The ``number``-th of ``of`` draws of a set, its ``family``."""

    family: int
    number: int
    of: int

    @property
    def strata(self) -> int:
        """The largest power of two that the set holds: those beyond it are drawn freely."""
        return 1 << (self.of.bit_length() - 1)

    @property
    def seed(self) -> int:
        return FIRST + 65_537 * (10_007 * self.family + self.number + 1)

    def uniform(self, shape: tuple[int, ...], device: torch.device, *, place: int) -> Tensor:
        """Numbers in (0, 1), float64, for the ``place``-th random operation of a forward."""
        strata = self.strata
        if self.number >= strata or strata == 1:
            torch.manual_seed(self.seed + place)
            return torch.rand(shape, dtype=torch.float64, device=device).clamp(1e-9, 1 - 1e-9)
        torch.manual_seed(FIRST + 65_537 * 10_007 * self.family + place)
        bits = torch.randint(0, 2**62, shape, device=device)
        within = torch.rand(shape, dtype=torch.float64, device=device)
        parts = [(bits >> (14 * n)) & (strata - 1) for n in range(4)]
        # one of many permutations of the strata for each number: each step can be undone
        at = (((self.number ^ parts[0]) * (parts[1] | 1) + parts[2]) & (strata - 1)) ^ parts[3]
        within = torch.where(at < strata // 2, within, 1 - within)
        return ((at + within) / strata).clamp(1e-9, 1 - 1e-9)


@lru_cache(maxsize=1024)
def _kept(draw: Draw, shape: tuple[int, ...], device: torch.device, place: int) -> Tensor:
    return draw.uniform(shape, device, place=place)


class _Drawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is open every random operation of torch draws what its place in the forward and the draw say.

    Each is seeded by itself, so that how much another one drew, for how many rows, reaches none behind it.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draw = draw
        self.place = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        told = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **told)
        self.place += 1
        if "generator" in told:
            told["generator"] = None  # a model's own generator stays as it is
        name = func.overloadpacket.__name__
        kind = KINDS.get(name)
        if kind is None:
            torch.manual_seed(self.draw.seed + self.place)
        drawn = func(*args, **told)
        if kind is None:
            return drawn
        given = (tuple(drawn.shape), drawn.device)
        even = (
            _kept(self.draw, *given, self.place)
            if drawn.numel() <= KEPT
            else self.draw.uniform(*given, place=self.place)
        )
        return drawn.copy_(_shaped(kind, even, name, args))


def _shaped(kind: str, even: Tensor, name: str, args: Sequence[Any]) -> Tensor:
    """Numbers of a distribution, with an operation's arguments, from uniform ones."""
    numbers = [one for one in args if isinstance(one, int | float)]
    if kind == "coin":
        chance: Tensor | float = args[1] if len(args) > 1 else 0.5 if name == "bernoulli_" else args[0]
        return even < chance
    if kind == "whole":
        low, high = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
        whole: Tensor = low + (even * (high - low)).floor()
        return whole
    if kind == "uniform":
        low, high = numbers if name == "uniform_" and len(numbers) == 2 else [0.0, 1.0]
        # a float32 rounds up to the end that is left out
        spread: Tensor = low + (high - low) * even
        return spread.clamp(max=high - (high - low) * 2.0**-24)
    bell: Tensor = torch.special.ndtri(even)
    if not name.startswith("normal"):
        return bell
    if name == "normal":
        mean, deviation = args[:2]
    else:
        mean, deviation = (*numbers, *(0.0, 1.0)[len(numbers) :])[:2]
    shaped: Tensor = mean + deviation * bell
    return shaped


class Averaged(nn.Module):
    """The mean of what ``model`` (inputs (N, …) to logits (N, K)) answers over ``draws`` draws.

    All rows of a batch meet the same draw. What torch, Python and NumPy draw by their common generators is
    fixed, and they are as before after every call; what a model draws otherwise is not, and FF105 says so.
    """

    def __init__(self, model: nn.Module, draws: int) -> None:
        super().__init__()
        self.model = model
        self.draws = draws
        self.prefix = f"model.{getattr(model, 'prefix', '')}"
        self.family = 0

    def forward(self, inputs: Tensor) -> Tensor:
        with _as_before(inputs.device):
            total = self._one(inputs, Draw(self.family, 0, self.draws))
            for number in range(1, self.draws):
                total = total + self._one(inputs, Draw(self.family, number, self.draws))
        return total / self.draws

    def _one(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Rows side by side where torch can, else one by one: either way each meets the same draw."""
        try:
            with _seeded(draw):
                each = torch.vmap(lambda row: self.model(row[None])[0], randomness="same")
                answer: Tensor = each(inputs)
                return answer
        except torch.OutOfMemoryError:
            raise
        except Exception:  # an operation without a rule for many rows, a branch on a value, numpy
            rows = []
            for at in range(len(inputs)):
                with _seeded(draw):
                    rows.append(self.model(inputs[at : at + 1]))
            return torch.cat(rows)

    @contextmanager
    def other(self, family: int) -> Iterator[None]:
        """While this is open the mean is over another set of draws."""
        before, self.family = self.family, family
        try:
            yield
        finally:
            self.family = before


@contextmanager
def _seeded(draw: Draw) -> Iterator[None]:
    import numpy as np

    random.seed(draw.seed)
    np.random.seed(draw.seed % 2**32)
    with _Drawn(draw):
        yield


@contextmanager
def _as_before(device: torch.device) -> Iterator[None]:
    """Common generators as they were, whatever was drawn."""
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def averaged(module: nn.Module) -> Averaged | None:
    """The mean over draws inside a composition; None where there is none."""
    return next((part for part in module.modules() if isinstance(part, Averaged)), None)


@torch.no_grad()
def ceiling_interval(
    module: nn.Module, point: Tensor, witness: Tensor, *, label: int, distance: float
) -> tuple[float, float] | None:
    """Where the ceiling of the expectation lies, by as many draws that nothing was searched with.

    point, witness: (*input). Along the segment between them the margin over the class that leads at the
    witness falls from the one to the other; where its mean over fresh sets of draws meets 0, give or take
    their standard error, the expectation changes its class. None for what is no mean.
    """
    mean = averaged(module)
    if mean is None:
        return None
    both = torch.stack([point, witness])
    leading = int(module(both)[1].argmax())
    margins = []
    for family in range(1, FRESH + 1):
        with mean.other(family):
            logits = module(both).double()
        margins.append(logits[:, label] - logits[:, leading])
    told = torch.stack(margins)
    near, far = told.mean(0).tolist()
    if not near > far:
        return None
    slope = (near - far) / distance
    centre = distance + far / slope
    half = DEVIATIONS * float(told[:, 1].std()) / FRESH**0.5 / slope
    return min(distance, centre - half), max(distance, centre + half)
