"""`average`: the ceiling of the mean over 32 draws, over the exact distance of the expected model.

python benchmarks/average.py [--inputs 4] [--draws 32] [--write]

A linear digits model behind Gaussian noise, dropout and random resizing of its input: its expectation is a
linear model in closed form, and so is the distance to each of its classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pages import arguments, ratio, show, table
from torch import Tensor, nn
from torch.nn import functional

import falsefloor as ff
from falsefloor.models.digits import DigitsModel, load_split

SIZES = range(6, 9)


def resized(inputs: Tensor, size: int) -> Tensor:
    pixels = functional.interpolate(inputs.reshape(-1, 1, 8, 8), size=(size, size), mode="bilinear")
    return functional.interpolate(pixels, size=(8, 8), mode="bilinear").reshape(len(inputs), 64)


def at_random(inputs: Tensor) -> Tensor:
    return resized(inputs, int(torch.randint(SIZES.start, SIZES.stop, (1,))))


def expected(inputs: Tensor) -> Tensor:
    return torch.stack([resized(inputs, size) for size in SIZES]).mean(0)


def unmoved(inputs: Tensor) -> Tensor:
    return inputs


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "Gaussian noise of 0.1": (lambda x: x + 0.1 * torch.randn_like(x), unmoved),
    "dropout of 0.2": (lambda x: functional.dropout(x, 0.2, training=True), unmoved),
    "resizing to 6, 7 or 8 pixels a side": (at_random, expected),
}
"""What happens to an input, and what is expected of it."""


class Behind(nn.Module):
    def __init__(self, front: Callable[[Tensor], Tensor], body: nn.Module) -> None:
        super().__init__()
        self.front, self.body = front, body

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(self.front(inputs.flatten(1)).reshape(inputs.shape))
        return logits


def distances(model: nn.Module, points: Tensor) -> Tensor:
    """(N,) of a linear model in linf, where the domain is no bound."""
    flat = points.flatten(1)
    shape = points.shape[1:]
    zero = model(torch.zeros(1, *shape))
    weight = model(torch.eye(flat.shape[1]).reshape(-1, *shape)) - zero  # (d, K)
    logits = flat @ weight + zero
    label = logits.argmax(1)
    margin = logits.gather(1, label[:, None]) - logits
    slope = (weight[:, label].T[:, :, None] - weight[None]).abs().sum(1)
    return torch.where(slope > 0, margin / slope, torch.inf).min(1).values


def main() -> None:
    asked = arguments(__doc__)
    asked.add_argument("--inputs", type=int, default=4)
    asked.add_argument("--draws", type=int, default=32)
    asked.add_argument("--kind", choices=tuple(KINDS))
    given = asked.parse_args()
    body, (points, _) = DigitsModel()("linear").module, load_split(held_out=True)
    points = points[: given.inputs]
    rows = []
    for name, (front, mean) in KINDS.items():
        if given.kind not in (None, name):
            continue
        truth, judged = Behind(mean, body), Behind(front, body)
        with torch.no_grad():
            exact, labels = distances(truth, points), truth(points).argmax(1)
        found = ff.evaluate(
            judged, points, labels, bounds=(-9, 9), estimators="attack", average=given.draws, effort="quick"
        )
        ratios, within = [], 0
        for one in found:
            ratios.append(one["radius"] / float(exact[one["input"]]))
            low, high = one["interval"] or (one["radius"], one["radius"])
            within += low * (1 - 1e-4) <= float(exact[one["input"]]) <= high * (1 + 1e-4)
        rows.append((name, ", ".join(map(ratio, sorted(ratios))), f"{within} of {len(ratios)}"))
        print(rows[-1], flush=True)
    headings = (
        "a linear digits model behind",
        "ceiling over the exact distance",
        "the exact one within its interval",
    )
    show("average", table(headings, rows), write=given.write)


if __name__ == "__main__":
    main()
