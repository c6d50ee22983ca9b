"""No point of another class, and none without finite logits, that any call met lies inside a held claim, nor
more than 2 % inside a held ceiling.

Asserted on the detection benchmark's subjects from outside: each is wrapped in a module that remembers every
row it was asked, by whomever, and knows nothing of how falsefloor keeps its own. A remembered point counts
where another class leads, or a logit is not finite, alone and among copies of itself, by more than rounding.

    python benchmarks/detection_met.py --only sparse half-spaces --norms linf,l2 --inputs 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from detection_studies import FAMILIES, Family, subjects_of
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.models.digits import load_split

ORDER = {"linf": math.inf, "l2": 2.0, "l1": 1.0}
ROUNDING = 64.0
"""Units of eps * max|logit| by which another class must lead."""
LOOSE = 1.02
COPIES = 16
KEPT = 8


@dataclass(frozen=True)
class Breach:
    """A claim that is held although a point that stands was met inside it, or a ceiling although one was that
    makes it loose."""

    subject: str
    norm: str
    estimator: str
    input: int
    radius: float
    met: float


class Watched(nn.Module):
    """A module that remembers, of every row it is asked, the nearest that answer otherwise around each input.

    What it remembers belongs to the class: copies of the module remember together.
    """

    inputs: ClassVar[Tensor]
    labels: ClassVar[Tensor]
    order: ClassVar[float]
    nearest: ClassVar[list[list[tuple[float, Tensor]]]]
    changed: ClassVar[list[list[tuple[float, Tensor]]]]
    """Of those with finite logits alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @classmethod
    def begin(cls, inputs: Tensor, labels: Tensor, norm: str) -> None:
        cls.inputs, cls.labels, cls.order = inputs, labels, ORDER[norm]
        cls.nearest, cls.changed = [[] for _ in inputs], [[] for _ in inputs]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        if x.dtype == self.inputs.dtype and torch._C._functorch.peek_interpreter_stack() is None:
            with torch.no_grad():
                self._remember(x.detach(), logits.detach())
        return logits

    def _remember(self, x: Tensor, logits: Tensor) -> None:
        inside = ((x >= 0) & (x <= 1)).flatten(1).all(1)
        answers = torch.where(logits.isfinite().all(1), logits.argmax(1), -1)
        for at, label in enumerate(self.labels.tolist()):
            for kept, wanted in ((self.nearest, answers != label), (self.changed, answers >= 0)):
                rows = x[inside & wanted & (answers != label)]
                away = (rows.double() - self.inputs[at].double()).flatten(1).norm(p=self.order, dim=1)
                order = away.argsort()[:KEPT].tolist()
                known = kept[at] + [(float(away[row]), rows[row].clone()) for row in order]
                kept[at] = sorted(known, key=lambda one: one[0])[:KEPT]

    def standing(self, at: int, *, changed: bool = False) -> float:
        """The distance of the nearest remembered point that answers otherwise alone and among its copies;
        with another class, if it must have ``changed``."""
        with torch.no_grad():
            for away, point in (self.changed if changed else self.nearest)[at]:
                asked = (point[None], point[None].expand(COPIES, *point.shape))
                if all(_stands(self.inner(rows)[0], int(self.labels[at])) for rows in asked):
                    return away
        return math.inf


def _stands(logits: Tensor, label: int) -> bool:
    if not bool(logits.isfinite().all()):
        return True
    wide = logits.double()
    needed = ROUNDING * torch.finfo(logits.dtype).eps * float(wide.abs().max())
    return float(wide.max() - wide[label]) > needed


def breaches(
    name: str, module: nn.Module, inputs: Tensor, labels: Tensor, norm: str, **options: Any
) -> tuple[int, list[Breach]]:
    """How many claims and ceilings were held, and those that should not be."""
    Watched.begin(inputs, labels, norm)
    watched = Watched(module)
    found = ff.evaluate(watched, inputs, labels, norm=norm, progress=False, **options).estimates
    held = [e for e in found if e["verdict"] == "held"]
    breached = []
    for e in held:
        above = e["claim"] == "upper_bound"
        met = watched.standing(e["input"], changed=above)
        if e["radius"] > met * (LOOSE if above else 1 + 1e-6):
            breached.append(Breach(name, norm, e["name"], e["input"], e["radius"], met))
    return len(held), breached


def report(families: Sequence[Family], norms: Sequence[str], *, inputs: int) -> tuple[str, list[Breach]]:
    """One line, and what it counts."""
    images, labels = load_split(held_out=True)
    held, found = 0, []
    for family in families:
        for name, module in subjects_of(family):
            with torch.no_grad():
                right = (module(images[:20]).argmax(1) == labels[:20]).nonzero()[:inputs, 0]
            for norm in norms:
                count, more = breaches(name, module, images[right], labels[right], norm)
                held, found = held + count, found + more
    return f"{held} claims and ceilings held; of them against a point that any call met: {len(found)}", found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of families")
    parser.add_argument("--norms", default="linf")
    parser.add_argument("--inputs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for family in FAMILIES:
        if not given.only or family.name in given.only:
            line, found = report([family], given.norms.split(","), inputs=given.inputs)
            print(f"{family.name}: {line}", flush=True)
            for breach in found:
                print(f"    {breach}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
