"""How good the bound on a share of a ball is, and the estimate of small ones by splitting.

Regions of known volume, in linf, l2 and l1 balls: slabs and caps (half-spaces whose height is that of a
quantile of the ball's own points), and salt (a hash of the point answers). Coverage: of `--draws` bounds at
95 %, how many lie above the true share, beside what the binomial distribution makes of exactly that share.
Splitting: regions of volume 1e-3 to 1e-9 of a ball, known in closed form, at 64 and 784 coordinates: caps of
l2 and l1 balls, slabs through the middle of an l2 ball (to 1e-7: float32 has no thinner ones), corners of 8
coordinates of a cube, needles that are cubes in 4 coordinates: how many are found, and how many estimates are
within a factor of three.

    python benchmarks/share.py coverage [--draws 1000] [--points 1000]
    python benchmarks/share.py splitting [--repeats 20] [--kinds …]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from scipy.special import betainc
from scipy.stats import binom
from torch import Generator, Tensor

from falsefloor.numerics.shares import Ball, largest_share, split

SHARES = (0.0005, 0.003, 0.02)
VOLUMES = (1e-3, 1e-5, 1e-7, 1e-9)
NORMS = ("linf", "l2", "l1")


def whole(size: int, norm: str) -> Ball:
    """A unit ball well inside its box."""
    none = torch.zeros(size)
    return Ball(none, none - 2, none + 2, norm, 1.0)


def cap_height(size: int, volume: float) -> float:
    """t with the share ``volume`` of the unit l2 ball beyond it along any direction: by halving."""
    low, high = 0.0, 1.0
    for _ in range(200):
        half = (low + high) / 2
        beyond = 0.5 * betainc((size + 1) / 2, 0.5, 1 - half**2)
        low, high = (half, high) if beyond > volume else (low, half)
    return low


def regions(size: int, norm: str, share: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """Families whose share of the ball is known exactly: (P, d) -> (P,) whether a point answers otherwise."""

    def salt(points: Tensor) -> Tensor:
        # digits of all coordinates far behind the point: uniform on [0, 1), and the same for the same point;
        # of one coordinate alone, float32 leaves steps as coarse as the smallest share here
        return (points.double() @ hashed).remainder(1) < share

    hashed = 1e4 * torch.arange(2, size + 2, dtype=torch.float64).sqrt()
    known: dict[str, Callable[[Tensor], Tensor]] = {"salt": salt}
    if norm == "l2":
        height = cap_height(size, share)
        known["cap"] = lambda points: points[:, 0] > height
        middle = cap_height(size, (1 - share) / 2)
        known["slab"] = lambda points: points[:, 0].abs() < middle
    elif norm == "linf":
        known["cap"] = lambda points: points[:, 0] > 1 - 2 * share
        known["slab"] = lambda points: (points[:, 0] - 0.3).abs() < share
    else:
        # |x_0| of a uniform point of the l1 ball is Beta(1, d): P(|x_0| > t) = (1 - t)^d
        height = 1 - (2 * share) ** (1 / size)
        known["cap"] = lambda points: points[:, 0] > height
        middle = 1 - (1 - share) ** (1 / size)
        known["slab"] = lambda points: points[:, 0].abs() < middle
    return known


def coverage(
    size: int, norm: str, share: float, *, draws: int, points: int, seed: int = 0
) -> dict[str, float]:
    """Share of the bounds, of ``draws``, that lie above the true share, by family."""
    generator = Generator().manual_seed(seed)
    ball, held = whole(size, norm), dict.fromkeys(regions(size, norm, share), 0)
    for _ in range(draws):
        drawn = ball.points(ball.uniform(points, generator))
        for name, region in regions(size, norm, share).items():
            held[name] += largest_share(int(region(drawn).sum()), len(drawn)) >= share
    return {name: count / draws for name, count in held.items()}


def expected(share: float, points: int) -> float:
    """The coverage of the bound at exactly this share."""
    least = next(k for k in range(points) if largest_share(k, points) >= share)
    return 1.0 - float(binom.cdf(least - 1, points, share))


def small(kind: str, size: int, volume: float) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The norm of the ball, and a score that is positive in ``volume`` of it."""
    if kind == "cap l2":
        height = cap_height(size, volume)
        return "l2", lambda points: points[:, 0] - height
    if kind == "cap l1":
        beyond = 1 - (2 * volume) ** (1 / size)
        return "l1", lambda points: points[:, 0] - beyond
    if kind == "slab l2":
        middle = cap_height(size, (1 - volume) / 2)
        return "l2", lambda points: middle - points[:, 0].abs()
    if kind == "corner linf":
        edge = 1 - 2 * volume ** (1 / 8)
        return "linf", lambda points: points[:, :8].amin(1) - edge
    half = volume ** (1 / 4)
    return "linf", lambda points: half - (points[:, :4] - 0.2).abs().amax(1)


KINDS = {"cap l2": 0.0, "cap l1": 0.0, "slab l2": 1e-7, "corner linf": 0.0, "needle linf": 0.0}
"""And the smallest volume that points in float32 have room for."""


def splitting(
    size: int, volume: float, *, repeats: int, particles: int, moves: int, kind: str = "cap l2"
) -> tuple[int, int, float]:
    """(found, within a factor of three, queries each)."""
    norm, score = small(kind, size, volume)
    ball = whole(size, norm)
    found = near = queries = 0
    for repeat in range(repeats):
        generator = Generator().manual_seed(repeat)
        told = split(score, ball, particles=particles, moves=moves, levels=20, generator=generator)
        found += told.point is not None
        near += told.point is not None and abs(math.log(told.share / volume)) <= math.log(3)
        queries += told.queries
    return found, near, queries / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("coverage", "splitting"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--particles", type=int, default=500)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 784])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "coverage":
        for norm in NORMS:
            for share in SHARES:
                told = coverage(8, norm, share, draws=options.draws, points=options.points)
                cells = "  ".join(f"{name} {value:.3f}" for name, value in told.items())
                print(
                    f"{norm:4} {share:<6} {cells}  expected {expected(share, options.points):.4f}", flush=True
                )
        return
    for size in options.sizes:
        for kind in options.kinds:
            for volume in (one for one in VOLUMES if one >= KINDS[kind]):
                start = time.process_time()
                found, near, queries = splitting(
                    *(size, volume),
                    kind=kind,
                    repeats=options.repeats,
                    particles=options.particles,
                    moves=options.moves,
                )
                each = (time.process_time() - start) / options.repeats
                told = f"found {found}/{options.repeats}  within a factor of 3: {near}/{options.repeats}"
                print(
                    f"d={size} {kind:11} volume={volume:g}  {told}  {queries:,.0f} queries, {each:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
