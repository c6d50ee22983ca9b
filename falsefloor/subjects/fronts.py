"""What stands before, behind and inside a model in a subject, and is not of the model's making.

A distance is measured from the input as it was given. So a model that wants another number type, or values
that were normalised, gets them inside the composition, before its first layer and behind a masker at input.

Or values inside the model are moved (`Within`): ids of tokens have no distance, what their embedding makes of
them has. The rest of the model still sees the input itself, as masks of padding and positions do, so that
each input has a subject of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.errors import DomainError, UsageError, did_you_mean
from falsefloor.subjects.subject import FILL


class Cast(nn.Module):
    """Values in the number type that the model takes; `double()` and its like move that type too."""

    like: Tensor

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(0, dtype=kind), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.like.dtype)

    def extra_repr(self) -> str:
        return str(self.like.dtype).removeprefix("torch.")


class Scaled(nn.Module):
    """Inputs from coordinates in units of ``scale``, in the number type that they were given in."""

    scale: Tensor
    like: Tensor

    def __init__(self, scale: Tensor, kind: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("like", torch.zeros(0, dtype=kind), persistent=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        return (coordinates * self.scale).to(self.like.dtype)


class Whole(nn.Module):
    """Rounded to whole numbers, for a model that takes nothing else; no gradient leads through."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.round().long()


class Shown:
    """What a subject is told of the one input that it is judged at; copies of a module share it.

    inputs: (N, *input), whose values inside the model are judged; present: (N, L), whose labels are. at:
    which of them it is.
    """

    def __init__(self, *, inputs: Tensor | None = None) -> None:
        self.inputs = inputs
        self.present: Tensor | None = None
        self.at = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Shown:
        return self


class Changed(nn.Module):
    """Of logits (N, L) of labels, each present above ``level``: (N, L + 1), by how much each label is another
    than it is given, and 0 for that none is."""

    def __init__(self, shown: Shown, level: float) -> None:
        super().__init__()
        self.shown, self.level = shown, level

    def forward(self, logits: Tensor) -> Tensor:
        assert self.shown.present is not None
        present = self.shown.present[self.shown.at]
        other = torch.where(present, self.level - logits, logits - self.level)
        return torch.cat([other, torch.zeros_like(other[:, :1])], 1)

    def extra_repr(self) -> str:
        return f"level={self.level:g}"


class Towards(nn.Module):
    """Logits in which, beside ``label``, only ``target`` can lead: the others stay ``below`` the label's."""

    def __init__(self, label: int, target: int, below: float) -> None:
        super().__init__()
        self.label, self.target, self.below = label, target, below

    def forward(self, logits: Tensor) -> Tensor:
        others = (logits[:, self.label, None] - self.below).expand_as(logits)
        kept = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        kept[[self.label, self.target]] = True
        return torch.where(kept, logits, others)


class Normalise(nn.Module):
    """(x - mean) / std per channel: radii stay in the inputs' own units."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (-1, *([1] * (inputs.ndim - 2)))
        return (inputs - self.mean.view(shape)) / self.std.view(shape)


EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
WORDS = ("embedding", "embeddings")
"""Stand for the embedding that the model asks first, where no submodule has such a name."""


class Within(nn.Module):
    """``model`` as a function of the values at ``place``, beside the input that is shown.

    The module there is asked once for each answer. Raises `UsageError` where there is no such place, and
    `DomainError` where what passes it is no batch of real numbers.
    """

    def __init__(self, model: nn.Module, place: str, shown: Shown) -> None:
        super().__init__()
        self.inside, self.shown = model, shown
        self.prefix = f"inside.{getattr(model, 'prefix', '')}"
        self.place = self._named(place)
        self.behind = isinstance(self._part(), EMBEDDINGS)

    @property
    def words(self) -> str:
        """Where values are moved."""
        return f"the output of {self.place}" if self.behind else f"the input of {self.place}"

    def forward(self, values: Tensor) -> Tensor:
        given = self._given(len(values)).to(torch.promote_types(self._given(1).dtype, values.dtype))
        found: Tensor = self._passing(given, lambda there: values.to(there.dtype))
        return found

    def taken(self, inputs: Tensor) -> Tensor:
        """(N, *place): the values there for inputs (N, *input)."""
        seen: list[Tensor] = []

        def take(there: Tensor) -> Tensor:
            seen.append(there)
            return there

        with torch.no_grad():
            for part in torch.split(inputs, FILL):
                self._passing(part.clone(), take)
        values = torch.cat(seen)
        if len(values) != len(inputs) or values.ndim < 2 or not values.is_floating_point():
            kind = str(values.dtype).removeprefix("torch.")
            raise DomainError(
                f"{self.words} holds {kind} {tuple(values.shape)} for {len(inputs)} inputs; a place"
                " whose values"
                f" can be moved holds (N, *shape) floating-point numbers. {self._offered()}"
            )
        return values

    def _given(self, count: int) -> Tensor:
        inputs, at = self.shown.inputs, self.shown.at
        assert inputs is not None
        return inputs[at : at + 1].expand(count, *inputs.shape[1:]).clone()

    def _passing(self, given: Tensor, change: Callable[[Tensor], Tensor]) -> Any:
        """What the model returns where ``change`` of the values at the place takes their place."""
        asked = 0

        def changed(there: Any) -> Any:
            nonlocal asked
            asked += 1
            if not isinstance(there, Tensor):
                raise DomainError(f"{self.words} is {type(there).__name__}, no tensor. {self._offered()}")
            return change(there)

        def before(_part: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if args:
                return (changed(args[0]), *args[1:]), named
            first = next((name for name, value in named.items() if isinstance(value, Tensor)), "")
            return args, {**named, first: changed(named.get(first))}

        part = self._part()
        if self.behind:  # a masker may stand around it
            part = next(one for one in part.modules() if isinstance(one, EMBEDDINGS))
            handle = part.register_forward_hook(lambda _part, _args, out: changed(out))
        else:
            handle = part.register_forward_pre_hook(before, with_kwargs=True)
        try:
            found = self.inside(given)
        finally:
            handle.remove()
        if asked != 1:
            raise DomainError(
                f"the model asks {self.place} {asked} times for one answer; its values can be moved"
                " where it is"
                f" asked once. {self._offered()}"
            )
        return found

    def _part(self) -> nn.Module:
        return self.inside.get_submodule(self.prefix.removeprefix("inside.") + self.place)

    def _named(self, place: str) -> str:
        """The place by the model's own name for it."""
        prefix = self.prefix.removeprefix("inside.")
        names = [
            name.removeprefix(prefix)
            for name, _ in self.inside.named_modules(remove_duplicate=False)
            if name and name.startswith(prefix)
        ]
        if place in names:
            return place
        if place in WORDS and (first := self._first_embedding()):
            return first.removeprefix(prefix)
        raise UsageError(f"no submodule {place!r} to judge at. {did_you_mean(place, names)}")

    def _first_embedding(self) -> str:
        """The name of the embedding that is asked first; "" where none is."""
        order: list[nn.Module] = []
        named = {part: name for name, part in self.inside.named_modules()}
        handles = [
            part.register_forward_hook(lambda part, _args, _out: order.append(part))
            for part in named
            if isinstance(part, EMBEDDINGS)
        ]
        try:
            with torch.no_grad():
                self.inside(self._given(1))
        finally:
            for handle in handles:
                handle.remove()
        return named[order[0]] if order else ""

    def _offered(self) -> str:
        prefix = self.prefix.removeprefix("inside.")
        known = [
            name.removeprefix(prefix)
            for name, part in self.inside.named_modules()
            if isinstance(part, EMBEDDINGS)
        ]
        told = f"Its embeddings are {', '.join(known[:6])}. " if known else ""
        return f"{told}Name another: at='NAME' in Python, --at NAME, at = 'NAME' beside the factory or use."
