"""Labels as the numbers of classes, in the forms that people keep them in; and what is wrong where they and
the model's answers do not meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from falsefloor.errors import DomainError

EXPLAINED = 0.9
"""Of the inputs that an explanation must account for: the model errs on some as well."""
PREPROCESSING = "preprocessing is missing: --mean and --std, a first layer in Python"


SEVERAL = (
    "Several labels at once, each present or not, are asked for: multilabel=True in Python,"
    " --multilabel yes on the command line, multilabel = true beside the factory or use."
)


def as_sets(labels: Tensor, *, count: int, of: int) -> Tensor:
    """(N, L) bool: which of ``of`` labels are present. Raises `DomainError`."""
    if tuple(labels.shape) != (count, of) or not bool(((labels == 0) | (labels == 1)).all()):
        raise DomainError(
            f"several labels at once are ({count}, {of}) zeros and ones, a row for each input; these are"
            f" {str(labels.dtype).removeprefix('torch.')} {tuple(labels.shape)}."
        )
    return labels == 1


def as_classes(labels: Tensor, *, count: int, classes: int) -> tuple[Tensor, str]:
    """(N,) int64 and how they were read, "" for plain numbers; ``classes``: 0 where unknown.

    Rows of (N, K) that are one-hot and a column (N, 1) are read as such. Raises `DomainError`.
    """
    shape, said = tuple(labels.shape), ""
    if labels.dtype in (torch.uint16, torch.uint32, torch.uint64):
        labels = labels.long()  # torch compares these with nothing else
    if labels.is_complex() or not bool((labels == labels.long()).all()):
        if labels.ndim == 2 and labels.shape[1] > 1:
            raise DomainError(
                f"the labels are {shape}, shares or scores of classes and not one-hot; give one class an"
                " input: labels.argmax(1)."
            )
        raise DomainError("labels are the classes' numbers, 0, 1, 2 …; these are not all whole numbers.")
    labels = labels.long()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and len(labels) == count:
        one_hot = bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(1) == 1).all())
        if not one_hot:
            raise DomainError(
                f"the labels are {shape} and not one-hot; give one class an input, ({count},):"
                f" labels.argmax(1) where each row holds scores. {SEVERAL}"
            )
        if classes and shape[1] != classes:
            raise DomainError(f"the labels are one-hot over {shape[1]} classes; the model has {classes}.")
        labels, said = labels.argmax(1), "labels are one-hot, read as the class of each row's 1"
    if labels.shape != (count,):
        raise DomainError(f"{count} inputs need as many labels; there are {shape}.")
    _check_range(labels, classes)
    return labels, said


def _check_range(labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and (not classes or high < classes):
        return
    cure = " Leave inputs out that have none of its classes."
    if low >= 1 and high == classes:
        cure = " They seem to count from 1: subtract 1."
    elif classes == 2 and set(labels.tolist()) <= {-1, 1}:
        cure = " For labels -1 and 1, give (labels + 1) // 2."
    known = f"classes run from 0 to {classes - 1}" if classes else "classes run from 0 up"
    wrong = high if classes and high >= classes else low
    raise DomainError(
        f"label {wrong} is not a class of this model: labels run from {low} to {high}, {known}.{cure}"
    )


def disagreement(labels: Sequence[int], answers: Sequence[int], classes: int) -> str:
    """ "0 of 6 inputs are classified as labelled: …" where the model is right on less than half; else ""."""
    pairs = [*zip(labels, answers, strict=True)]
    right = sum(label == answer for label, answer in pairs)
    if 2 * right >= len(pairs):
        return ""
    return f"{right} of {len(pairs)} inputs are classified as labelled: {_why(pairs, classes)}"


def _why(pairs: Sequence[tuple[int, int]], classes: int) -> str:
    """The simplest explanation that the data can tell; several kinds of answers must speak for it."""
    known = [(label, answer) for label, answer in pairs if answer >= 0]
    needed, answered = EXPLAINED * len(pairs), {answer for _, answer in known}
    told = len(answered) > 1 and len(known) > len(answered)
    if told and classes == 2 and sum(label != answer for label, answer in known) >= needed:
        return "the two classes are swapped; use 1 - labels, or the other order in the model"
    for shift in range(1, classes) if told else ():
        if sum((answer + shift) % classes == label for label, answer in known) >= needed:
            one = shift == 1 and all(label >= 1 for label, _ in pairs)
            from_one = "the labels count from 1; subtract 1"
            return from_one if one else f"each label is the model's answer plus {_by(shift, classes)}"
    if told and (order := _order(known, needed)):
        named = ", ".join(f"{answer} is {label}" for answer, label in order)
        return f"the classes are in another order: the model's {named} among the labels"
    if len(answered) == 1 and len(known) > 2:
        return f"it answers {known[0][1]} on all; {PREPROCESSING}, a scale of 255 or the order of channels"
    return f"the labels or their order are not this model's, or {PREPROCESSING}"


def _by(shift: int, classes: int) -> str:
    back = classes - shift
    wrapped = f", modulo {classes}"
    return (
        f"{shift}{wrapped}: the labels are shifted, subtract {shift}"
        if shift <= back
        else f"{shift}{wrapped}: the labels are shifted, add {back}"
    )


def _order(known: Sequence[tuple[int, int]], needed: float) -> list[tuple[int, int]]:
    """(answer, label) for each answer, where one label stands for each and none for two; else nothing."""
    found: dict[int, int] = {}
    for answer in sorted({answer for _, answer in known}):
        mine = [label for label, other in known if other == answer]
        found[answer] = max(sorted(set(mine)), key=mine.count)
    met = sum(found[answer] == label for label, answer in known)
    return [*found.items()] if met >= needed and len(set(found.values())) == len(found) else []
