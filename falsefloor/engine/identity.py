"""What a plugin's answers depend on beside its version: the files that it names, and what it learnt.

A study's supervisor loads no plugin, so both are found here, beside the model, and travel in the model's
fingerprint under ``plugins``; `falsefloor.study.units` picks a unit's own out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from falsefloor.api import Masker
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.prepare import Prepared, digest_file, digest_state
from falsefloor.errors import PluginError

MOST_FILES = 1000
"""A plugin that names more has named a folder's tree by mistake."""


def files_of(plugin: object, *, name: str) -> dict[str, str]:
    """Path as the plugin names it to a digest of what is there. Raises `PluginError` for what is no file."""
    offered = getattr(plugin, "files", None)
    if not callable(offered):
        return {}
    try:
        named = offered()
    except Exception as error:
        raise PluginError(f"{name}.files() raised {type(error).__name__}: {error}") from error
    if isinstance(named, str | bytes) or not isinstance(named, Iterable):
        raise PluginError(
            f"{name}.files() returned {type(named).__name__}; it returns paths, one string each."
        )
    found: dict[str, str] = {}
    for path in named:
        if not isinstance(path, str | Path) or not Path(path).is_file():
            raise PluginError(f"{name}.files() names {str(path)!r}, which is no file (in {Path.cwd()}).")
        found[str(path)] = digest_file(Path(path))
        if len(found) > MOST_FILES:
            raise PluginError(f"{name}.files() names more than {MOST_FILES} files.")
    return found


def calibrated(masker: Masker, prepared: Prepared, *, name: str, rows: int) -> tuple[Masker, str]:
    """What a masker that learns is after it saw the study's inputs, and a digest of what it learnt.

    It sees every input inside the domain, and the same ones whatever the study's seed. Raises `PluginError`
    where nothing can be learnt, or what comes back is no masker; what `calibrate` itself raises passes.
    """
    calibrate: Callable[..., Masker] = getattr(masker, "calibrate")  # noqa: B009  (an optional member)
    inputs = prepared.inputs[prepared.inside].clone()
    if not len(inputs):
        raise PluginError(f"{name} learns from inputs, and none lies inside the domain.")
    context = RunContext(generators(inputs, seed=0, norm="calibrate"), rows=rows)
    with torch.no_grad():
        learnt = calibrate(inputs, context)
    if not callable(learnt) or isinstance(learnt, type):
        raise PluginError(
            f"{name}.calibrate() returned {type(learnt).__name__}; it returns the masker that it became."
        )
    if not torch.equal(inputs, prepared.inputs[prepared.inside]):
        raise PluginError(f"{name}.calibrate() changed the inputs it was given; work on a copy.")
    return learnt, _state(learnt, name=name)


def _state(masker: Masker, *, name: str) -> str:
    """A digest of the parameters and buffers of what a masker makes of an Identity.

    Raises `PluginError` where there are none: what was learnt could change and nobody would know.
    """
    module = masker(nn.Identity())
    if not isinstance(module, nn.Module):
        raise PluginError(f"{name} returned {type(module).__name__} after it learnt, not an nn.Module.")
    if not any(isinstance(value, Tensor) for value in module.state_dict().values()):
        raise PluginError(f"{name} learnt nothing that is kept: register what it learns as a buffer.")
    return digest_state(module)
