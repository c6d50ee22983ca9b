"""falsefloor: robustness estimates that say whether they stand.

    import falsefloor as ff
    results = ff.evaluate(model, inputs, labels, maskers=["none", "staircase:c=255"])

Importing the package imports nothing heavy; `evaluate`, `load` and `Results` load torch when they are first
touched, `ff.estimators.Clever` and its like what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from falsefloor import estimators, maskers
    from falsefloor.evaluate import Results, evaluate, load

__version__ = "0.1.0"
__all__ = ["Results", "__version__", "estimators", "evaluate", "load", "maskers"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'falsefloor' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    if name in ("estimators", "maskers"):
        return importlib.import_module(f"falsefloor.{name}")
    module = importlib.import_module("falsefloor.evaluate")
    # importing the submodule binds its name here, and the function of that name must win the next time too
    globals().update(Results=module.Results, evaluate=module.evaluate, load=module.load)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)


def installed(group: str) -> dict[str, EntryPoint]:
    """The classes of an entry-point group by their names, for `ff.estimators` and `ff.maskers`; of several of
    one name ours, as everywhere."""
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=group), key=lambda point: point.module.startswith("falsefloor."))
    return {point.attr: point for point in found}


def load_class(group: str, name: str) -> Any:
    """The installed class of that name. Raises `AttributeError` that lists what there is."""
    offered = installed(group)
    if name not in offered:
        raise AttributeError(
            f"module {group!r} has no attribute {name!r}; it has {', '.join(sorted(offered))}"
        )
    return offered[name].load()
