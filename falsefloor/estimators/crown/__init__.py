"""crown: the largest radius that a linear relaxation proves, of whatever network it can read.

Zhang et al., "Efficient neural network robustness certification with general activation functions", NeurIPS
2018, https://arxiv.org/abs/1811.00866; optimised slopes as in Xu et al., "Fast and complete", ICLR 2021,
https://arxiv.org/abs/2011.13824. Where `milp` is exact for small ReLU networks and a few seconds a digit,
this is a lower bound for large and smooth ones, in all three norms, and takes milliseconds to seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, NotApplicable, Subject, option
from falsefloor.estimators.account import column
from falsefloor.estimators.crown.network import read_network
from falsefloor.estimators.crown.search import Certified, Question, certified
from falsefloor.numerics.balls import diameter
from falsefloor.numerics.crown import Heads
from falsefloor.numerics.margins import margins

TOLERANCE = 2e-6
"""Taken off every radius, as a share of the domain's width, as `milp` does: float32 may move an edge."""
ROUNDING = 64.0
"""Units of eps·max|logit| by which the label must lead: the model's own rounding, what settling asks for."""
ROOM = 8.0
"""Or this many times as far as logits were seen from exact ones: where large terms cancel, that is more."""
OWN = ("looks", "cut")
"""Evidence of its own: relaxations made; neurons whose bounds are interval arithmetic's alone."""


@dataclass(frozen=True)
class Crown:
    """The largest radius at which every class stays behind the label in a linear relaxation of the network.

    Reads what torch computes on one input: linear, convolution, batch norm in eval mode, pooling, residuals,
    concatenation; ReLU, leaky ReLU, tanh, sigmoid, GELU, SiLU and their like; steps (ceil, floor, round),
    whose closure counts. The input stays in the domain as well as in the ball. A certificate of the network
    in real arithmetic, computed in float64 with bounds moved outward, and with room for float32's rounding.
    Slopes of 8 million numbers (64 MB) are held at once, whatever the network's size.

    Raises `NotApplicable`, "not applicable because …", for every other subject.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l1", "l2", "linf"))

    steps: int = option(10, help="steps of optimised slopes (alpha-CROWN); 0: fixed slopes", ge=0)
    work: float = option(5e7, help="rows x units that bound one activation; beyond it, intervals do", gt=0.0)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise NotApplicable(
                "not applicable because the model has one class: no other is at any distance."
            )
        lo, hi = corners(subject, inputs)
        with torch.no_grad():
            logits = subject(inputs).double().cpu()
        radii = torch.full((len(inputs),), torch.nan, dtype=torch.float64)
        found: list[Certified] = []
        generator = context.generators[0]
        for one in self.proofs(subject, inputs, labels, logits, norm=norm, generator=generator):
            radii[len(found)] = one.radius
            found.append(one)
            context.progress(len(found), len(inputs), radius=radii)
        cap, slack = diameter(lo, hi, (len(lo),), norm), TOLERANCE * float((hi - lo).amax())
        lead, proved = margins(logits, labels.cpu()), [(one.radius, one.target) for one in found]
        radius, evidence = certificate(proved, lead, cap=cap, slack=slack, like=inputs)
        own = {name: column([getattr(one, name) for one in found], inputs) for name in OWN}
        return Estimate(radius=radius, evidence={**evidence, **own})

    def proofs(
        self,
        subject: Subject,
        inputs: Tensor,
        labels: Tensor,
        logits: Tensor,
        *,
        norm: Norm,
        generator: Generator,
    ) -> Iterator[Certified]:
        """What is proved of each input with its logits (N, K), before the tolerance is taken off; the domain
        has bounds. Raises `NotApplicable`, as calling does."""
        lo, hi = corners(subject, inputs)
        nodes, error = read_network(subject, inputs, generator=generator)
        flat = inputs.detach().double().cpu().reshape(len(inputs), -1)
        cap = diameter(lo, hi, (flat.shape[1],), norm)
        least = ROUNDING * torch.finfo(subject.dtype).eps * logits.abs().amax(1)
        least = least.clamp_min(ROOM * error)
        heads = Heads(nodes)
        for index, (centre, label) in enumerate(zip(flat, labels.tolist(), strict=True)):
            yield certified(
                Question(
                    *(nodes, heads, centre, lo, hi, norm, int(label)),
                    least=float(least[index]),
                    cap=cap,
                    work=self.work,
                    steps=self.steps,
                )
            )


def corners(subject: Subject, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The domain of inputs (N, *input), (d,) float64 each. Raises `NotApplicable` where it has no bounds."""
    shape = inputs.shape[1:]
    lo, hi = (bound.detach().double().cpu().expand(shape).reshape(-1) for bound in subject.bounds)
    if not bool((lo.isfinite() & hi.isfinite()).all()):
        raise NotApplicable("not applicable because the input domain has no bounds. Give the model bounds.")
    return lo, hi


def certificate(
    found: Sequence[tuple[float, int]], lead: Tensor, *, cap: float, slack: float, like: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Radii (N,) of what was proved of each input, (radius, target that binds it), less ``slack``; and the
    evidence of every certificate. lead (N, K): the margins at the inputs."""
    radius = column([max(proved - slack, 0.0) for proved, _ in found], like)
    return radius, {
        "target": column([target for _, target in found], like),
        "margin": column([float(row[target]) for row, (_, target) in zip(lead, found, strict=True)], like),
        "cap": torch.full_like(radius, cap),
        "capped": (radius >= cap - slack).to(radius.dtype),
        "targets_covered": torch.full_like(radius, float(lead.shape[1] - 1)),
    }
