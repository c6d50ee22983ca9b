"""smoothing: certified l2 radii of the subject under Gaussian noise, each with its confidence.

Cohen, Rosenfeld & Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019,
https://arxiv.org/abs/1902.02918, algorithm CERTIFY. With probability 1 - alpha over its own noise the
radius is right, for the smoothed function g(x) = argmax P(f(x + noise) = c) and not for the subject f: so it
is said, judged and labelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, Subject, option


@dataclass(frozen=True)
class Smoothing:
    """The radius within which the smoothed subject keeps its class (Cohen et al. 2019), by sampling."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l2",))
    columns: ClassVar[Mapping[str, str]] = {"p_lower": "lower bound of the class's share"}

    sigma: float = option(0.1, help="standard deviation of the noise, in input units", gt=0)
    guess: int = option(100, help="noisy copies that guess the smoothed class", ge=1, le=100_000)
    copies: int = option(1000, help="noisy copies that bound its share from below", ge=10, le=10_000_000)
    alpha: float = option(0.001, help="probability that a radius is wrong", gt=0, le=0.5)

    def describe_subject(self) -> str:
        """What the radii are of."""
        return f"the subject under Gaussian noise of standard deviation {self.sigma:g}"

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Radii (N,); 0 where the smoothed class is not the label, or cannot be told from it."""
        radius = torch.zeros(len(inputs), dtype=torch.float64)
        share = torch.zeros_like(radius)
        for at, generator in enumerate(context.generators):
            label = int(labels[at])
            first = self._counts(subject, inputs[at], self.guess, generator, rows=context.rows)
            if int(first.argmax()) == label:
                counts = self._counts(subject, inputs[at], self.copies, generator, rows=context.rows)
                share[at] = lower_share(int(counts[label]), self.copies, self.alpha)
                radius[at] = self.sigma * torch.special.ndtri(share[at].clamp(min=0.5))
            context.progress(at + 1, len(inputs), radius=radius)
        context.logger.info("smoothing: %d of %d radii are above 0", int((radius > 0).sum()), len(radius))
        return Estimate(
            radius=radius.to(inputs.device), evidence={"p_lower": share}, confidence=1.0 - self.alpha
        )

    def _counts(
        self, subject: Subject, point: Tensor, copies: int, generator: Generator, *, rows: int
    ) -> Tensor:
        """How often each class (K,) was on top among so many noisy copies of a point."""
        found = torch.zeros(subject.classes, dtype=torch.int64)
        for start in range(0, copies, rows):
            shape = (min(rows, copies - start), *point.shape)
            # drawn on the CPU, where the generators are
            noise = torch.randn(shape, generator=generator, dtype=point.dtype)
            with torch.no_grad():
                answers = subject(point + self.sigma * noise.to(point.device)).argmax(1)
            found += answers.cpu().bincount(minlength=subject.classes)
        return found


def lower_share(hits: int, copies: int, alpha: float) -> float:
    """Clopper and Pearson's lower bound of a share, wrong with probability ``alpha``."""
    from scipy.special import betaincinv

    return 0.0 if hits == 0 else float(betaincinv(hits, copies - hits + 1, alpha))
