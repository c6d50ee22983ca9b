"""The embedded data and models, so that the first run needs no download.

Data: the UCI optical handwritten digits (Alpaydin & Kaynak, 1998; CC BY 4.0, see data/NOTICE.md), 1,797
images of 8×8 pixels with values 0 to 16, used as pixel/16. A fixed stratified half-thousand of them is held
out: that is what `digits:I-J` indexes, and no embedded model has seen it in training.

Models: one table of small networks. `benchmarks/train.py` reproduces their weights; data/MODELS.md lists
accuracy, seed and training time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.errors import DomainError, FalsefloorError, UsageError, did_you_mean
from falsefloor.models.refs import select

DATA = Path(__file__).parent / "data"
SHAPE = (1, 8, 8)
CLASSES = 10
WHITE = 16  # the largest pixel value in the data


def _mlp(*widths: int, activation: Callable[[], nn.Module], norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths[:-1]):
        layers.append(nn.Linear(fan_in, fan_out))
        if norm:
            layers.append(nn.BatchNorm1d(fan_out))
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def _cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


BUILDERS: Mapping[str, Callable[[], nn.Sequential]] = {
    "mlp": lambda: _mlp(64, 64, 32, CLASSES, activation=nn.ReLU),
    "cnn": _cnn,
    "mlp-bn": lambda: _mlp(64, 64, 32, CLASSES, activation=nn.ReLU, norm=True),
    "mlp-gelu": lambda: _mlp(64, 64, 32, CLASSES, activation=nn.GELU),
    "mlp-tanh": lambda: _mlp(64, 64, 32, CLASSES, activation=nn.Tanh),
    "mlp-adv": lambda: _mlp(64, 64, 32, CLASSES, activation=nn.ReLU),
    "mlp-wide": lambda: _mlp(64, 512, CLASSES, activation=nn.ReLU),
    "linear": lambda: _mlp(64, CLASSES, activation=nn.ReLU),
}
"""Architectures by name; every one is a plain `nn.Sequential`, so submodules are called "0", "1", …"""


def load_split(*, held_out: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8), float32 in [0, 1], and labels (N,), int64, of one of the two parts."""
    path = DATA / "digits.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, chosen = file["images"], file["labels"], file["held_out"]
    except (OSError, ValueError, KeyError) as error:
        raise FalsefloorError(
            f"The embedded data {path} cannot be read ({error}); reinstall falsefloor."
        ) from error
    rows = chosen if held_out else np.setdiff1d(np.arange(len(images)), chosen)
    pixels = torch.from_numpy(images[rows].astype(np.float32) / WHITE).reshape(-1, *SHAPE)
    return pixels, torch.from_numpy(labels[rows].astype(np.int64))


@dataclass(frozen=True)
class DigitsModel:
    """Small classifiers of 8x8 digits that come with the package: `digits:mlp`, `digits:cnn`, and more.

    Raises UsageError for a name that is not a key of `BUILDERS`.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        if ref not in BUILDERS:
            raise UsageError(f"There is no embedded model {ref!r}. {did_you_mean(ref, BUILDERS)}")
        path = DATA / f"{ref}.safetensors"
        module = BUILDERS[ref]()
        try:
            module.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise FalsefloorError(
                f"The embedded weights {path} cannot be read ({error}); reinstall falsefloor."
            ) from error
        return LoadedModel(
            module=module.eval(),
            classes=CLASSES,
            input_shape=SHAPE,
            bounds=(0.0, 1.0),
            units="pixel, 0 to 1 in steps of 1/16",
            inputs="digits:0-9",
            files=(str(path),),
        )


@dataclass(frozen=True)
class DigitsInputs:
    """Images that these models were not trained on, with labels: `digits:3`, `digits:0-9,20`, both ends in.

    A model that takes 64 numbers in another shape gets the images in that shape. Raises UsageError for an
    index that does not exist and DomainError for a model that does not take 64 numbers.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        images, labels = load_split(held_out=True)
        rows = select(ref, count=len(images), what="digits (held-out images)")
        shape = model.input_shape or SHAPE
        if math.prod(shape) != math.prod(SHAPE):
            raise DomainError(
                f"The digits have {math.prod(SHAPE)} pixels, but the model takes inputs of shape {shape}. "
                "Name inputs that fit the model, for example npz:FILE."
            )
        return LabelledInputs(
            inputs=images[rows].reshape(-1, *shape),
            labels=labels[rows],
            names=[f"digits:{row}" for row in rows],
        )
