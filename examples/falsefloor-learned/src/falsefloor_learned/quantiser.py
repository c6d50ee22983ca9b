"""learned-vq: groups of values replaced by the nearest of a few learned codes.

The codebook is fitted to the study's own inputs by Lloyd's algorithm (Lloyd 1982), beginning at inputs or
at the codes in a file. Quantisation was proposed as a defence (Xu et al. 2018, arXiv:1704.01155); its
derivative is 0 almost everywhere, which hides the gradient and hardly moves an adversarial input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from falsefloor.api import Context, Masker, option


class Quantised(nn.Module):
    """Runs ``part``, then replaces every group of ``codes.shape[1]`` values by the nearest row of codes."""

    codes: Tensor

    def __init__(self, part: nn.Module, codes: Tensor) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("codes", codes)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.part(inputs)
        flat = out.flatten(1)
        groups = grouped(flat, self.codes.shape[1])
        codes = self.codes.to(groups.dtype)
        # not by a matrix product, whose bits depend on the rows beside
        nearest = (groups[:, :, None, :] - codes).square().sum(3).argmin(2)
        return codes[nearest].flatten(1)[:, : flat.shape[1]].reshape(out.shape)


def grouped(flat: Tensor, size: int) -> Tensor:
    """(N, d) as (N, groups, size), filled up with the last value."""
    short = -flat.shape[1] % size
    filled = torch.cat([flat, flat[:, -1:].expand(len(flat), short)], dim=1)
    return filled.reshape(len(flat), -1, size)


@dataclass(frozen=True)
class Learned:
    """The masker with its codes, rows of numbers."""

    codes: tuple[tuple[float, ...], ...]
    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Quantised(part, torch.tensor(self.codes))


@dataclass(frozen=True)
class LearnedQuantiser:
    """Replaces groups of values by the nearest of the codes that it learns from the study's inputs."""

    api_version: ClassVar[int] = 1

    codes: int = option(32, help="codes in the book", ge=2, le=4096)
    size: int = option(2, help="values a code holds", ge=1, le=64)
    rounds: int = option(10, help="rounds of Lloyd's algorithm", ge=0, le=1000)
    start: str = option("", help="a text file of codes to begin with, one a line; none: inputs")

    def files(self) -> Iterable[str]:
        """The codes to begin with belong to what this masker is."""
        return [self.start] if self.start else []

    def calibrate(self, inputs: Tensor, context: Context) -> Masker:
        """The masker with a codebook fitted to inputs (N, *input), the same for the same inputs."""
        groups = grouped(inputs.detach().cpu().double().flatten(1), self.size).flatten(0, 1)
        book = self._start(groups, context.generators[0])
        for done in range(self.rounds):
            nearest = (groups[:, None, :] - book).square().sum(2).argmin(1)
            for code in range(len(book)):
                mine = groups[nearest == code]
                if len(mine):
                    book[code] = mine.mean(0)
            context.progress(done + 1, self.rounds)
        return Learned(tuple(tuple(row) for row in book.tolist()))

    def __call__(self, part: nn.Module, /) -> nn.Module:
        """Before it has learnt: codes evenly spread over the unit interval."""
        return Quantised(part, torch.linspace(0, 1, self.codes)[:, None].expand(-1, self.size).clone())

    def _start(self, groups: Tensor, generator: Generator) -> Tensor:
        if self.start:
            text = Path(self.start).read_text(encoding="utf-8")
            rows = [[float(number) for number in line.split()] for line in text.splitlines() if line.strip()]
            if any(len(row) != self.size for row in rows) or not rows:
                raise ValueError(f"{self.start} must hold {self.size} numbers a line, a code each.")
            return torch.tensor(rows, dtype=torch.float64)
        different: Tensor = torch.unique(groups, dim=0)  # type: ignore[no-untyped-call, unused-ignore]
        chosen = torch.randperm(len(different), generator=generator)[: self.codes]
        return different[chosen].clone()
