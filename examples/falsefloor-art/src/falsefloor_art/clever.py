"""art-clever: `art.metrics.clever_u`, asked one input at a time with randomness of that input's own.

Weng et al. 2018, https://arxiv.org/abs/1801.10578, as the Adversarial Robustness Toolbox computes it. It
returns its sampling radius wherever every sampled gradient is 0, and says nothing about that; what is known
of the score is told here as evidence, so that checks can.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from falsefloor.api import Claim, Context, Estimate, Norm, Subject, option

ORDERS: dict[Norm, float] = {"l1": 1, "l2": 2, "linf": math.inf}


@dataclass(frozen=True)
class ArtClever:
    """CLEVER for the nearest of all classes, as the Adversarial Robustness Toolbox computes it."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = frozenset(ORDERS)

    batches: int = option(20, help="batches, whose largest slopes are fitted", ge=5, le=10_000)
    samples: int = option(50, help="points a batch", ge=1, le=100_000)
    radius: float = option(0.3, help="radius of the ball that is sampled, and the largest score", gt=0)
    pool: int = option(5, help="ART draws this many times the samples once and picks from them", ge=1, le=100)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Scores (N,), never above ``radius``; a score that is the radius is told as capped."""
        classifier = _classifier(subject, tuple(inputs.shape[1:]), most=context.rows)
        scores = torch.zeros(len(inputs), dtype=torch.float64)
        for at in range(len(inputs)):
            point = inputs[at].detach().cpu().numpy().astype(np.float32)
            with _seeded(context.generators[at]):
                scores[at] = _score(classifier, point, self, ORDERS[norm])
            context.progress(at + 1, len(inputs), radius=scores)
        cap = torch.full_like(scores, self.radius)
        capped = (scores >= cap * (1 - 1e-6)).to(scores)
        evidence = {"sampling_radius": cap, "cap": cap, "capped": capped}
        return Estimate(radius=scores.to(inputs.device), evidence=evidence)


def _score(classifier: Any, point: np.ndarray[Any, Any], asked: ArtClever, order: float) -> float:
    from art.metrics import clever_u

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # a fit to equal slopes divides by zero on its way
        warnings.simplefilter("ignore")
        score = clever_u(
            classifier,
            point,
            asked.batches,
            asked.samples,
            asked.radius,
            order,
            pool_factor=asked.pool,
            verbose=False,
        )
    number = float(score)
    return min(max(number, 0.0), asked.radius) if math.isfinite(number) else asked.radius


class _Module(nn.Module):
    """The subject in float32, some rows at a time; not registered, so that ART moves none of it."""

    def __init__(self, subject: Subject, most: int) -> None:
        super().__init__()
        self._call, self._dtype, self._most = subject.__call__, subject.dtype, most
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [self._call(some.to(self._dtype)) for some in torch.split(inputs, self._most)]
        return torch.cat(parts).to(inputs.dtype)


def _classifier(subject: Subject, shape: tuple[int, ...], *, most: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from art.estimators.classification import PyTorchClassifier
    return PyTorchClassifier(
        model=_Module(subject, most),
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=subject.classes,
        device_type="gpu" if subject.device.type == "cuda" else "cpu",
    )


@contextlib.contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """ART draws from numpy's global generator: lend it one of the input's own, and put it back."""
    before = np.random.get_state()
    np.random.seed(int(torch.randint(2**32, (1,), generator=generator)))
    try:
        yield
    finally:
        np.random.set_state(before)
