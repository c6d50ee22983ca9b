"""Fingerprints: what decides a stored result beside its key.

The key names what was asked; the fingerprint covers what answered: weights and buffers, source files, inputs
and labels, device kind and dtype (found when the model is loaded), and the versions of the plugins involved.
Stored results are used again only where both are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from falsefloor.plugins.names import discover, resolve
from falsefloor.study.units import canonical, digest, estimator_of


def fingerprint(spec: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Of a unit, from its spec and its model's own fingerprint."""
    return digest(canonical([dict(model), plugin_versions(spec)]))


def plugin_versions(spec: Mapping[str, Any]) -> dict[str, str]:
    """Kind and name to distribution and version of every plugin that a unit runs."""
    wanted = [("masker", layer["use"]) for layer in spec["stack"]]
    if (estimator := estimator_of(spec)) is not None:
        wanted += [("estimator", estimator["use"]), ("gradient", estimator["gradient"])]
    return {f"{kind} {name}": _version(kind, name) for kind, name in wanted}


@cache
def _version(kind: str, name: str) -> str:
    plugin = resolve(discover(), kind, name)
    return f"{plugin.dist} {plugin.version}"
