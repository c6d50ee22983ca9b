"""A convolutional net of MNIST's scale, 28 × 28 and ten classes, made without a download.

    falsefloor run --model python:benchmarks/real/mnist_scale.py --inputs npz:mnist_scale.npz …
    python benchmarks/real/mnist_scale.py mnist_scale.npz     # writes held-out inputs with their labels

The digits of scikit-learn (8 × 8, written by hand) enlarged to 28 × 28; LeNet's shape; trained at load,
in seconds, from a fixed seed. It is MNIST in size, not in content: no figure here is one of MNIST's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

input_shape = (1, 28, 28)
classes = 10
bounds = (0.0, 1.0)
units = "pixel, 0 to 1"
TRAINED = 1500
EPOCHS = 8


def digits() -> tuple[Tensor, Tensor]:
    """(1797, 1, 28, 28) in [0, 1] on the 8-bit grid, and labels."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    small = torch.tensor(raw.images, dtype=torch.float32)[:, None] / 16
    large = functional.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return (large * 255).round() / 255, torch.tensor(raw.target)


@torch.enable_grad()
def build() -> nn.Module:
    """Trained on the first 1,500 digits with Adam."""
    images, labels = digits()
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED).split(50):
            optimiser.zero_grad()
            functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimiser.step()
    torch.random.set_rng_state(state)  # whoever loads a model keeps their own randomness
    return net.eval()


def main(target: Path) -> None:
    images, labels = digits()
    with torch.no_grad():
        right = build()(images[TRAINED:]).argmax(1) == labels[TRAINED:]
    np.savez_compressed(target, inputs=images[TRAINED:].numpy(), labels=labels[TRAINED:].numpy())
    print(f"{len(right)} held-out digits in {target}; {right.double().mean():.1%} classified correctly")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
