"""Which of the values that a model returns are its logits, and what one number alone means.

A model may return a tensor, or several values under names or numbers, of which ``output`` names one. One
logit, as BCEWithLogitsLoss takes it, means the two classes (0, f); one probability means (1 - p, p).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.errors import DomainError

LISTED = 20


class Chosen(nn.Module):
    """Of what the module before it returns, the value under a name or a number."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output

    def forward(self, returned: Any) -> Any:
        return chosen(returned, self.output)


class TwoClasses(nn.Linear):
    """(0, f) of one logit f, (N, 1) or (N,): a linear layer, which exact solvers read as such."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        self.weight.data, self.bias.data = torch.tensor([[0.0], [1.0]]), torch.zeros(2)

    def forward(self, logit: Tensor) -> Tensor:
        f = logit.reshape(len(logit), 1)
        return torch.cat([torch.zeros_like(f), f], 1)  # in the model's own precision


class TwoShares(nn.Linear):
    """(1 - p, p) of one probability p, (N, 1) or (N,)."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        self.weight.data, self.bias.data = torch.tensor([[-1.0], [1.0]]), torch.tensor([1.0, 0.0])

    def forward(self, probability: Tensor) -> Tensor:
        p = probability.reshape(len(probability), 1)
        return torch.cat([1 - p, p], 1)


def chosen(returned: Any, output: str | None) -> Any:
    """The value named ``output``, "0" and "aux.0" too; without a name, the only one.

    Raises `DomainError` that lists what there is.
    """
    values = _values(returned)
    if values is None:
        if output is not None and isinstance(returned, Tensor):
            raise DomainError(
                f"output={output!r} was asked for, but the model returns one tensor {_shape(returned)}; leave"
                " output out."
            )
        return returned
    if output is None:
        if len(values) == 1:
            return chosen(next(iter(values.values())), None)
        if not any(isinstance(value, Tensor) or _values(value) for value in values.values()):
            raise DomainError(
                f"the model returned {type(returned).__name__} without a tensor in it:"
                f" {_listed(values)}. Wrap it so that it returns its logits (N, classes) as a torch tensor,"
                " not numbers or lists."
            )
        raise DomainError(
            f"the model returned {type(returned).__name__} instead of logits alone: {_listed(values)}. Choose"
            f" the logits: {_how(_likely(values))}."
        )
    if output in values:
        return values[output]
    by_number = [*values.values()]
    if output.lstrip("-").isdigit() and -len(by_number) <= int(output) < len(by_number):
        return by_number[int(output)]
    head, dot, rest = output.partition(".")
    if dot and (head in values or head.isdigit()):
        return chosen(chosen(returned, head), rest)
    raise DomainError(
        f"the model returned no output {output!r}. There are: {_listed(values)}. Choose the logits:"
        f" {_how(_likely(values))}."
    )


def _values(returned: Any) -> dict[str, Any] | None:
    """Several values by name or number; None for anything that is one value."""
    if isinstance(returned, Mapping):
        return {str(name): value for name, value in returned.items()}
    if isinstance(returned, tuple | list):
        names = getattr(returned, "_fields", range(len(returned)))
        return {str(name): value for name, value in zip(names, returned, strict=True)}
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        fields = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
        return {name: value for name, value in fields.items() if value is not None}
    return None


def _how(name: str) -> str:
    word = name if name.isdigit() else repr(name)
    return (
        f"output={word} in Python, --output {name} on the command line, output = {word} beside use in a study"
    )


def _likely(values: Mapping[str, Any]) -> str:
    """The name to show in the advice: a batch of scores, called logits where something is."""
    scores = [name for name, value in values.items() if isinstance(value, Tensor) and value.ndim == 2]
    return next((name for name in ("logits", "out", *scores) if name in values), next(iter(values), "0"))


def _listed(values: Mapping[str, Any]) -> str:
    named = [f"{name}: {_shape(value)}" for name, value in [*values.items()][:LISTED]]
    more = f" and {len(values) - LISTED} more" if len(values) > LISTED else ""
    return (", ".join(named) or "nothing") + more


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def check_shape(logits: Any, rows: int) -> None:
    """Raises `DomainError` for anything else than (rows, classes), (rows, 1) or (rows,)."""
    if isinstance(logits, Tensor) and logits.ndim in (1, 2) and len(logits) == rows and logits.numel():
        return
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    inputs = "one input" if rows == 1 else f"{rows} inputs"
    expected = f"expected one tensor of logits ({rows}, classes)"
    if isinstance(logits, Tensor) and logits.ndim > 2 and logits[0].numel() == max(logits.shape[1:]):
        why = "Flatten them: logits.flatten(1)"
    elif isinstance(logits, Tensor) and logits.ndim > 2:
        why = (
            "An answer at every position (segmentation, tagging, generation) is not judged; wrap the model so"
            " that it returns the scores of one, such as logits[:, :, i, j]"
        )
    elif isinstance(logits, Tensor):
        why = (
            "Wrap the model so that it returns a row of logits for each input, however many there are: no"
            " size of a batch in a view, a state or a buffer"
        )
    else:
        why = "Wrap the model so that it returns logits alone, as a torch tensor"
    raise DomainError(f"the model returned {shape} for {inputs}; {expected}. {why}.")


def classes_of(logits: Tensor, *, probabilities: bool) -> tuple[int, nn.Module | None, str]:
    """The number of classes of logits as `check_shape` lets them pass, what makes two of one, and how that is
    said."""
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits.shape[1], None, ""
    if probabilities:
        return 2, TwoShares(), "the model returns one probability p, read as the two classes (1 - p, p)"
    return 2, TwoClasses(), "the model returns one logit f, read as the two classes (0, f)"
