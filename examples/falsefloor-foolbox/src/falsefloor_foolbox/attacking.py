"""Running a foolbox attack on a falsefloor subject, one input at a time.

foolbox attacks a batch: some stop when every input has fallen, and matrix products over a batch are not the
same bits for another batch. falsefloor promises that an input's result depends on that input alone.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import Context, Estimate, Norm, Subject

ORDERS: dict[Norm, float] = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


def library() -> Any:
    """The module foolbox, imported now."""
    with warnings.catch_warnings():
        # 3.3.4 imports a name that scipy has moved
        warnings.simplefilter("ignore", DeprecationWarning)
        import foolbox
    return foolbox


def run(
    attack: Any, subject: Subject, inputs: Tensor, labels: Tensor, *, norm: Norm, context: Context
) -> Estimate:
    """Radii (N,) and witnesses (N, *input) of a foolbox attack; inf where it found nothing.

    Success is what the subject says about the returned point, not what the attack says about itself.
    Raises ValueError where the coordinates have different ranges: foolbox knows only one.
    """
    foolbox = library()
    model = foolbox.PyTorchModel(_Module(subject), bounds=_range(subject), device=subject.device)
    radius = torch.full((len(inputs),), torch.inf, dtype=torch.float64, device=inputs.device)
    witness = inputs.clone()
    for at in range(len(inputs)):
        own, label = inputs[at : at + 1], labels[at : at + 1]
        with _seeded(context.generators[at]), warnings.catch_warnings():
            # A subject without gradients sends divisions by zero through the attack: nothing found, no error.
            warnings.simplefilter("ignore", RuntimeWarning)
            point = attack.run(model, own.clone(), foolbox.criteria.Misclassification(label))
        point = point.detach().to(own)
        if point.isfinite().all() and _changes(subject, point, label):
            radius[at] = torch.linalg.vector_norm((point - own).double().flatten(), ORDERS[norm])
            witness[at] = point[0]
        context.progress(at + 1, len(inputs), radius=radius)
    return Estimate(radius=radius, witness=witness)


class _Module(nn.Module):
    """The subject as foolbox wants it: an `nn.Module`; not registered, so that foolbox moves none of it."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._call = subject.__call__
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        return self._call(inputs)


@contextlib.contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """foolbox draws from torch's global generator: lend it one of the input's own, and put it back."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _changes(subject: Subject, point: Tensor, label: Tensor) -> bool:
    with torch.no_grad():
        return bool(subject(point).argmax(1) != label)


def _range(subject: Subject) -> tuple[float, float]:
    lower, upper = subject.bounds
    low, high = (torch.as_tensor(bound).double() for bound in (lower, upper))
    if low.min() != low.max() or high.min() != high.max():
        raise ValueError(
            "foolbox's attacks need one range for all coordinates; this model's differ. Normalise inside the"
            " model instead, or use falsefloor's own attack."
        )
    return float(low.min()), float(high.min())
