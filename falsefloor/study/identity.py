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

PLUGINS = "plugins"
"""The part of a model's fingerprint that is its plugins': by name, files and what a masker learnt."""


def fingerprint(spec: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Of a unit, from its spec and the fingerprint of its model and of the plugins beside it."""
    own = {name: told for name, told in model.items() if name != PLUGINS}
    known = model.get(PLUGINS, {})
    # what a trap or a resampling asks has other parameters, and is never taken over
    wanted = [named(*plugin) for plugin in plugins_of(spec) if plugin[0] == "masker" or "extra" not in spec]
    beside = {name: told for name, told in known.items() if name in wanted or name.startswith(_SOURCES)}
    return digest(canonical([own, plugin_versions(spec), *([beside] if beside else [])]))


_SOURCES = ("model ", "input ")


def plugins_of(spec: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(kind, name, parameters) of every plugin that a unit runs, but for the sources of model and inputs."""
    wanted: list[tuple[str, str, Mapping[str, Any]]] = [
        ("masker", layer["use"], layer["params"]) for layer in spec["stack"]
    ]
    if (estimator := estimator_of(spec)) is not None:
        wanted.append(("estimator", estimator["use"], estimator["params"]))
        wanted.append(("gradient", estimator["gradient"], {}))
    return wanted


def plugin_versions(spec: Mapping[str, Any]) -> dict[str, str]:
    """Kind and name to distribution and version of every plugin that a unit runs."""
    return {f"{kind} {name}": _version(kind, name) for kind, name, _ in plugins_of(spec)}


def named(kind: str, use: str, params: Mapping[str, Any]) -> str:
    """A plugin with its parameters, as messages name it: "masker vq:codes=8"."""
    shown = ",".join(f"{name}={value}" for name, value in sorted(params.items()) if value != "")
    return f"{kind} {use}:{shown}" if shown else f"{kind} {use}"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of two fingerprints differs, in words: "weights", "the file codes.npz of masker vq:codes=8"."""
    plain = {*before, *now} - {PLUGINS}
    found = sorted(name for name in plain if before.get(name) != now.get(name))
    old, new = before.get(PLUGINS, {}), now.get(PLUGINS, {})
    for name in sorted({*old, *new}):
        was, is_ = old.get(name, {}), new.get(name, {})
        files, there = was.get("files", {}), is_.get("files", {})
        changed = sorted(path for path in {*files, *there} if files.get(path) != there.get(path))
        found += [f"the file {path} of {name}" for path in changed]
        if was.get("learnt") != is_.get("learnt"):
            found.append(f"what {name} learnt")
    return found


@cache
def _version(kind: str, name: str) -> str:
    plugin = resolve(discover(), kind, name)
    return f"{plugin.dist} {plugin.version}"
