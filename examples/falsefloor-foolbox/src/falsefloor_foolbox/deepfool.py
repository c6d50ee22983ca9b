"""foolbox-deepfool: Moosavi-Dezfooli et al. 2016, DeepFool (arXiv:1511.04599)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, Subject, option
from falsefloor_foolbox.attacking import library, run

CLASSES: dict[Norm, str] = {"l2": "L2DeepFoolAttack", "linf": "LinfDeepFoolAttack"}


@dataclass(frozen=True)
class DeepFool:
    """foolbox's DeepFool: steps to the nearest boundary of the linearised model."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "upper_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(CLASSES)

    steps: int = option(50, help="linearisations at most for each input", ge=1, le=100_000)
    candidates: int = option(10, help="classes looked at, the most likely ones", ge=2, le=10_000)
    overshoot: float = option(0.02, help="how far beyond the boundary, as a share of the way", ge=0, le=1)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Radii (N,), inf where nothing was found, with witnesses (N, *input)."""
        attack = getattr(library().attacks, CLASSES[norm])
        made = attack(
            steps=self.steps,
            candidates=min(self.candidates, subject.classes),
            overshoot=self.overshoot,
        )
        return run(made, subject, inputs, labels, norm=norm, context=context)
