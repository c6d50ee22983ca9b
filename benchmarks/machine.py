"""What a figure was measured on, and on which digits: the same words in every benchmark's JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import scipy
import torch
from torch import Tensor, nn

from falsefloor.models.digits import DigitsModel, load_split


def machine() -> dict[str, str | int]:
    """Cores, processor and versions of this process."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scipy": scipy.__version__,
        "threads": torch.get_num_threads(),
    }


def correct_digits(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The embedded model, and the first held-out digits (count, 1, 8, 8) that it gets right, with labels."""
    module = DigitsModel()(name).module.eval()
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        right = (module(images).argmax(1) == labels).nonzero().squeeze(1)[:count]
    return module, images[right], labels[right]


def processor_seconds() -> float:
    """Of this process and of the children it waited for: some libraries fit in processes of their own."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def quantile(values: Tensor, share: float) -> float:
    """Of values (n,) that may be inf; interpolation between the last two would give NaN."""
    ordered = values.sort().values
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


__all__ = ["correct_digits", "machine", "processor_seconds", "quantile"]
