"""The device that was asked for, or the reason why this machine cannot compute on it."""

from __future__ import annotations

import torch

from falsefloor.errors import UsageError


def usable_device(name: str) -> torch.device:
    """The device by torch's name for it; "auto": a GPU where there is one.

    Raises `UsageError` for one that does not exist or that this installation of torch cannot use.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {name!r} cannot be used here: {error}") from error
    return device


__all__ = ["usable_device"]
