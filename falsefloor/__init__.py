"""falsefloor: robustness estimates that say whether they stand.

    import falsefloor as ff
    results = ff.evaluate(model, inputs, labels, maskers=["none", "staircase:c=255"])

Importing the package imports nothing heavy; `evaluate` and `Results` load torch when they are first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from falsefloor.evaluate import Results, evaluate

__version__ = "0.1.0"
__all__ = ["Results", "__version__", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in ("Results", "evaluate"):
        raise AttributeError(f"module 'falsefloor' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    module = importlib.import_module("falsefloor.evaluate")
    # importing the submodule binds its name here, and the function of that name must win the next time too
    globals().update(Results=module.Results, evaluate=module.evaluate)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
