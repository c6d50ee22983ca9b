"""foolbox-ddn: Rony et al. 2019, Decoupling Direction and Norm (arXiv:1811.09600)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, Subject, option
from falsefloor_foolbox.attacking import library, run


@dataclass(frozen=True)
class DecoupledDirectionNorm:
    """foolbox's DDN: the direction follows the gradient, the l2 norm follows success and failure."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "upper_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l2",))

    steps: int = option(100, help="gradient steps for each input", ge=1, le=100_000)
    radius: float = option(1.0, help="first norm, in the input's units", gt=0)
    gamma: float = option(0.05, help="how much the norm changes at each step", gt=0, le=0.9)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Radii (N,), inf where nothing was found, with witnesses (N, *input)."""
        attack = library().attacks.DDNAttack
        made = attack(init_epsilon=self.radius, steps=self.steps, gamma=self.gamma)
        return run(made, subject, inputs, labels, norm=norm, context=context)
