"""Whether a model, its inputs, its bounds and the memory fit each other, asked before anything is computed.

Linux hands out more memory than there is, so that a forward that is too large is killed and raises nothing
that could be caught. A model of 64 inputs takes thousands of rows a forward, one of 224 × 224 pixels sixteen.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.engine.context import ROWS
from falsefloor.errors import DomainError
from falsefloor.models.outputs import Chosen, check_shape, chosen, classes_of
from falsefloor.numerics.balls import working
from falsefloor.subjects.compose import dressed
from falsefloor.subjects.fronts import Cast, Whole
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.subject import FILL, HALVES, ModelSubject, check_numbers

EDGE, JUMP, LOOKED_AT = 2.0**-18, 0.01, 32
"""A step beside an input, as a share of the domain's width; the share of the largest logit that is a jump
over it; and at how many inputs it is looked for."""
SLIGHT = 2.0**-23
"""Relative to the domain's width."""
BUDGET = 2**30
"""Bytes of one graph on a CPU. Two can be alive at once, and a convolution's own buffers come on top."""


def as_points(given: Tensor, module: nn.Module) -> Tensor:
    """The points (N, *input) as they were given, in a number type in which they are worked with: float32 at
    least, and float64 where the model is, or where float32 could not hold them."""
    if given.is_complex():
        raise DomainError("inputs are real numbers; these are complex.")
    wide = given.double()
    kind = working(_kind(module) or torch.float32)
    return given.to(kind) if bool(((wide.to(kind).double() == wide) | wide.isnan()).all()) else wide


def within_rounding(points: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """The points, those in float64 moved into the domain where they miss it by no more than float32 can
    show: what was computed to lie on its edge."""
    if points.dtype != torch.float64:
        return points
    moved = points.clamp(lowest, highest)
    return torch.where((moved - points).abs() <= SLIGHT * (highest - lowest), moved, points)


def as_it_takes(
    module: nn.Module, points: Tensor, *, given: torch.dtype, before: list[nn.Module]
) -> tuple[nn.Module, list[str], bool]:
    """The module behind ``before`` and, where it takes no points of their type, a cast to what it takes; how
    that is said, where the inputs were ``given`` in another; and whether it takes whole numbers only."""
    plain = dressed(module, before=before).to(points.device)
    if _answers(plain, points):
        return plain, [], False
    kind = _kind(module)
    if kind not in (None, points.dtype):
        behind = dressed(module, before=[*before, Cast(kind)]).to(points.device)
        if _answers(behind, points):
            if not given.is_floating_point or given == kind:
                return behind, [], False
            mine, its = (str(each).removeprefix("torch.") for each in (given, kind))
            return behind, [f"the inputs are {mine} and the model {its}: they are cast inside it"], False
    if not given.is_floating_point:
        behind = dressed(module, before=[*before, Whole()]).to(points.device)
        if _answers(behind, points):
            return behind, ["the model takes whole numbers only: they are rounded inside it"], True
    return plain, [], False  # whoever asks next tells why


def _answers(module: nn.Module, points: Tensor) -> bool:
    try:
        one_answer(module, points)
    except DomainError:
        return False
    return True


def on_a_step(subject: ModelSubject, points: Tensor, *, rows: int) -> list[str]:
    """How many of the points (N, *input) sit on an edge of the function, as token ids do where a model cuts
    off fractions: a ceiling there is a rounding away."""
    points, guard = points[:LOOKED_AT], Guarded(subject, rows=rows)
    if not len(points):
        return []
    low, high = subject.bounds
    reach = torch.maximum(points.abs(), (high - low).abs())
    here, again = guard.first(points)[0], guard.first(points)[0]
    if not torch.equal(here.nan_to_num(), again.nan_to_num()):
        return []
    edges = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for sign in (-1.0, 1.0):
        # a slope falls with the step, a jump does not
        wide, near = (
            (guard.first((points + sign * share * reach).clamp(low, high))[0] - here).double().abs().amax(1)
            for share in (EDGE, EDGE / 8)
        )
        edges |= (wide > JUMP * here.double().abs().amax(1)) & (near > wide / 2)
    if not bool(edges.any()):
        return []
    size = "1" if bool((points == points.round()).all()) else "SIZE"
    return [
        f"{int(edges.sum())} of {len(points)} inputs sit on a step of the model: its answer jumps beside"
        " them, so that a ceiling is a rounding away. Where features are discrete, declare their grid:"
        f" step={size} in Python, --step {size}"
    ]


def _kind(module: nn.Module) -> torch.dtype | None:
    tensors = (*module.parameters(), *module.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), None)


def as_logits(
    module: nn.Module, points: Tensor, *, output: str | None, bounds: tuple[Tensor, Tensor]
) -> tuple[list[nn.Module], int, list[str]]:
    """What stands behind a module so that it returns logits (N, K); K; and how that is to be said.

    output: which of several values are the logits. Raises `DomainError` for what cannot be read as logits.
    """
    logits, after, rows = _read(module, points, output)
    if rows == 1 and (said := _raised(module, points[:1].expand(FILL, *points.shape[1:]))):
        raise DomainError(_fixed_batch(1, said))
    check_numbers(logits)
    alone = logits.ndim == 1 or logits.shape[1] == 1
    shares = alone and _stay_shares(nn.Sequential(module, *after), points, bounds)
    classes, two, read = classes_of(logits, probabilities=shares)
    return [*after, *([two] if two else [])], classes, [read] if read else []


def as_labels(
    module: nn.Module, points: Tensor, *, output: str | None, bounds: tuple[Tensor, Tensor]
) -> tuple[list[nn.Module], int, float, str]:
    """What stands behind a module so that it returns the logits (N, L) of labels; L, the level above which
    one is present, and how that is said. Raises `DomainError`."""
    logits, after, _ = _read(module, points, output)
    check_numbers(logits)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise DomainError(
            f"the model returns {tuple(logits.shape)}, one logit an input, which is one label: leave"
            " multilabel out, and it is read as the two classes (0, f)."
        )
    level = 0.5 if _stay_shares(nn.Sequential(module, *after), points, bounds) else 0.0
    what = "probability" if level else "logit"
    said = (
        f"several labels at once: one is present where its {what} is above {level:g}; a radius is the"
        f" distance at which the first of the {logits.shape[1]} changes. Class j of what is reported is a"
        f" change of label j, class {logits.shape[1]} that none changed"
    )
    return after, logits.shape[1], level, said


def _read(module: nn.Module, points: Tensor, output: str | None) -> tuple[Tensor, list[nn.Module], int]:
    """The logits of the first of ``points``, what stands behind the module to choose them, and of how many
    rows they are."""
    answer, rows = one_answer(module, points)
    logits = chosen(answer, output)
    check_shape(logits, rows)
    return logits, [] if logits is answer else [Chosen(output or "0")], rows


def _stay_shares(module: nn.Module, points: Tensor, bounds: tuple[Tensor, Tensor]) -> bool:
    """Whether a module's one number is a probability: in [0, 1] at the inputs and all over the domain.

    A logit that stays there would answer 1 everywhere.
    """
    drawn = torch.rand(4 * FILL, *points.shape[1:], generator=torch.Generator().manual_seed(0))
    lowest, highest = (bound.cpu().double() for bound in bounds)
    spread = (lowest + drawn.double() * (highest - lowest)).to(points)
    asked = [points[: 4 * FILL], spread]
    try:
        with torch.no_grad():
            values = torch.cat([module(part.clone()).reshape(-1) for part in asked if len(part) >= 1])
    except torch.OutOfMemoryError:
        raise
    except Exception:  # on other rows than the first; whoever asks next tells why
        return False
    return bool(((values >= 0) & (values <= 1)).all())


def one_answer(module: nn.Module, points: Tensor) -> tuple[Any, int]:
    """What the model returns for the first of ``points``, and of how many rows: asked alone or, where it
    takes no single input, in a filled batch.

    Raises `DomainError` with what the model raised.
    """
    first: Exception | None = None
    point = points[:1]
    for count in (1, FILL):
        try:
            with torch.no_grad():
                return module(point.repeat(count, *([1] * (point.ndim - 1)))), count
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            first = first or error
    assert first is not None
    said = f"{type(first).__name__}: {str(first)[:300]}"
    if len(points) not in (1, FILL) and not _raised(module, points):
        raise DomainError(_fixed_batch(len(points), said))
    raise DomainError(
        f"the model fails on inputs of shape {tuple(point.shape)}: {said}{_hint(str(first), points.device)}"
    )


def _hint(said: str, device: torch.device) -> str:
    """The cure of what is known of an error of torch's, behind its words."""
    if "does not require grad" in said:
        return (
            ". Models are asked under torch.no_grad(): a forward that takes gradients needs"
            " torch.enable_grad()."
        )
    if "positional argument" in said:
        return ". A model takes one tensor, the batch; wrap one that takes more: lambda x: model(x, mask)."
    if device.type == "cpu" and any(word in said for word in ("CUDA", "cuda", "NVIDIA", "Triton", "triton")):
        return (
            ". It asks for a GPU by itself, and is judged on the CPU here: let it follow its input,"
            " x.to(next(self.parameters()).device) and torch.zeros(…, device=x.device); or"
            ' judge it where there is a GPU that torch can use, device="cuda" in Python, --device cuda.'
        )
    return ""


def _fixed_batch(count: int, said: str) -> str:
    return (
        f"the model answers batches of {count} only ({said}). Let the first size be free:"
        " x.reshape(len(x), …) or x.flatten(1), so that one input and many are answered."
    )


def _raised(module: nn.Module, points: Tensor) -> str:
    """What the model raises at the points, "" where it answers."""
    try:
        with torch.no_grad():
            module(points.clone())
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return ""


def outside_said(
    points: Tensor, inside: Tensor, lowest: Tensor, highest: Tensor, *, whole: bool
) -> list[str]:
    """How many inputs lie outside the domain, what their values are, and what that looks like; whole: the
    model takes whole numbers only."""
    if bool(inside.all()):
        return []
    low, high = float(points.min()), float(points.max())
    domain = f"[{float(lowest.min()):g}, {float(highest.max()):g}]"
    many = f"{int((~inside).sum())} of {len(points)} inputs"
    if not bool(points.isfinite().all()):
        return [f"{many} lie outside the domain {domain} or are not finite"]
    if whole and low >= 0:
        cure = (
            "numbers such as ids of tokens? bounds=(0, HIGHEST) in Python, --bounds 0,HIGHEST; or move in the"
            " space of their embedding: at='embedding', --at embedding"
        )
    elif low >= 0 and 1 < high <= 255:
        cure = "bytes? bounds=(0, 255) in Python, --bounds 0,255, or divide them by 255"
    elif low < 0:
        wide = math.floor(low * 100) / 100, math.ceil(high * 100) / 100
        cure = (
            "normalised? Give them as they were before it and put the mean and std into the model (--mean,"
            " --std, a first layer in Python), or declare what they can be:"
            f" bounds=({wide[0]:g}, {wide[1]:g}) in Python, --bounds={wide[0]:g},{wide[1]:g}"
        )
    else:
        cure = "declare what they can be: bounds=(LOW, HIGH) in Python, --bounds LOW,HIGH"
    return [f"{many} lie outside the domain {domain}: their values run from {low:.4g} to {high:.4g}; {cure}"]


def coarsest(module: nn.Module, point: Tensor) -> torch.dtype | None:
    """The half precision that a model's answer at ``point`` (1, *input) goes through, by its weights or by
    autocast; None where there is none."""
    found = [t.dtype for t in (*module.parameters(), *module.buffers())]

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor.dtype)
        return tensor

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            logits = module(point.detach().clone().requires_grad_(True).clone())
            found.append(logits.dtype)
    except Exception:  # whoever asks next tells why
        return None
    return next((kind for kind in HALVES if kind in found), None)


def bytes_a_row(module: nn.Module, point: Tensor) -> int:
    """Bytes that autograd keeps for one row, ``point`` (1, *input); weights and buffers are not counted.

    0 where the model cannot be asked: whoever asks it next tells why.
    """
    own = {t.data_ptr() for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            leaf = point.detach().clone().requires_grad_(True)
            logits = module(leaf.clone())  # a leaf may not be written into
    except Exception:  # it may take no batch of one, or fail on this input
        return 0
    # the graph must live until here, or its memory would be counted under the same address twice
    return sum(kept.values()) + (logits.nbytes if isinstance(logits, Tensor) else 0)


def rows_that_fit(module: nn.Module, point: Tensor) -> int:
    """Rows of one forward with its graph, a multiple of 16 from 16 to 4,096."""
    each = max(1, bytes_a_row(module, point))
    budget = torch.cuda.mem_get_info(point.device)[0] // 4 if point.is_cuda else BUDGET
    return max(FILL, min(ROWS, budget // each // FILL * FILL))
