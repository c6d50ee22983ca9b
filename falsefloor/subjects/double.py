"""The same subject in float64: what shows how much of an answer is rounding."""

from __future__ import annotations

import copy
import warnings

import torch

from falsefloor.subjects.subject import ModelSubject


def in_double(subject: ModelSubject) -> ModelSubject:
    """A copy of the subject that works in float64; the subject is left as it is.

    Raises whatever copying raises; a model that holds on to another type raises when it is called.
    """
    with warnings.catch_warnings():
        # exported modules warn about their own internals when copied
        warnings.simplefilter("ignore")
        module = copy.deepcopy(subject.module).double()
    low, high = (bound.to(torch.float64) for bound in subject.bounds)
    return ModelSubject(module, classes=subject.classes, bounds=(low, high))


__all__ = ["in_double"]
