"""Places maskers on a copy of a model: at its input, its logits, the whole of it, or any named submodule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from falsefloor.api import Masker
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.subjects.copies import OneByOne, copied
from falsefloor.subjects.draws import Averaged
from falsefloor.subjects.fronts import Within


class Composed(nn.Module):
    """input maskers, then the model, then logits maskers; absent parts are an empty Sequential.

    Its children and ``placed``, the maskers with their places, are what `falsefloor.api.Subject.module`
    promises.
    """

    def __init__(
        self,
        input: nn.Sequential,  # noqa: A002
        model: nn.Module,
        logits: nn.Sequential,
        placed: Sequence[tuple[Masker, str]],
    ) -> None:
        super().__init__()
        self.input, self.model, self.logits = input, model, logits
        self.placed = tuple(placed)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.logits(self.model(self.input(inputs)))
        return outputs


class Dressed(nn.Sequential):
    """A model between what belongs to it and is not of its making: preprocessing, the choice of an output.

    Places are the model's own names.
    """

    def __init__(self, before: Sequence[nn.Module], model: nn.Module, after: Sequence[nn.Module]) -> None:
        super().__init__(*before, model, *after)
        self.prefix = f"{len(before)}.{getattr(model, 'prefix', '')}"


def dressed(
    module: nn.Module, *, before: Sequence[nn.Module] = (), after: Sequence[nn.Module] = ()
) -> nn.Module:
    """``module`` with others before and after it, which may be none."""
    if not before and not after:
        return module
    if isinstance(module, Dressed):
        at = int(module.prefix.partition(".")[0])
        parts = [*module]
        return Dressed([*before, *parts[:at]], parts[at], [*parts[at + 1 :], *after])
    return Dressed(before, module, after)


def compose(model: nn.Module, stack: Sequence[tuple[Masker, str]]) -> nn.Module:
    """A copy of ``model`` wrapped by each (masker, place), left to right in the direction of the data.

    The model itself is never changed. A submodule with several names is replaced under all of them. Raises
    `UsageError` for a place that does not exist.
    """
    body = copied(model)
    if not stack:
        return body
    ends: dict[str, list[nn.Module]] = {"input": [], "logits": []}
    for masker, place in stack:
        if place in ends:
            ends[place].append(masker(nn.Identity()))
        elif place == "model":
            body = masker(body)
        else:
            body = _wrap_submodule(body, masker, place)
    return Composed(nn.Sequential(*ends["input"]), body, nn.Sequential(*ends["logits"]), stack)


def _wrap_submodule(body: nn.Module, masker: Masker, place: str) -> nn.Module:
    names = dict(body.named_modules(remove_duplicate=False))
    names.pop("")
    prefixed = isinstance(body, Dressed | Averaged | OneByOne | Within)
    prefix = str(getattr(body, "prefix", "")) if prefixed else ""
    own = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    if place in own:
        place = prefix + place
    if place not in names:
        known = [*own, "input", "logits", "model"]
        raise UsageError(f"no place {place!r} to put a masker at. {did_you_mean(place, known)}")
    if isinstance(body, torch.jit.ScriptModule):
        raise UsageError(
            f"a masker cannot be put at {place!r}: the model is TorchScript, whose parts cannot be replaced."
            " Put it at input, logits or model, or give the nn.Module that was scripted."
        )
    part = names[place]
    wrapped = masker(part)
    for name, module in list(names.items()):
        if module is part:
            parent_name, _, attribute = name.rpartition(".")
            parent = names[parent_name] if parent_name else body
            setattr(parent, attribute, wrapped)
    return body
