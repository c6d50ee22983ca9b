"""foolbox-fmn: Pintor et al. 2021, Fast Minimum-norm Adversarial Attacks (arXiv:2102.12827)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, Subject, option
from falsefloor_foolbox.attacking import library, run

CLASSES: dict[Norm, str] = {"l1": "L1FMNAttack", "l2": "L2FMNAttack", "linf": "LInfFMNAttack"}


@dataclass(frozen=True)
class FastMinimumNorm:
    """foolbox's FMN: the norm of the step shrinks where it succeeds and grows where it fails."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "upper_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(CLASSES)

    steps: int = option(100, help="gradient steps for each input", ge=1, le=100_000)
    stepsize: float = option(1.0, help="first step, in the input's units; annealed to a hundredth", gt=0)
    gamma: float = option(0.05, help="how fast the allowed distance changes; annealed to 0.001", gt=0, le=1)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Radii (N,), inf where nothing was found, with witnesses (N, *input)."""
        attack = getattr(library().attacks, CLASSES[norm])
        made = attack(steps=self.steps, max_stepsize=self.stepsize, gamma=self.gamma)
        return run(made, subject, inputs, labels, norm=norm, context=context)
