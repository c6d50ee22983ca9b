"""Everything that plugs in: found by name without import, described in another process, loaded on purpose.

    names       who offers what, from installed metadata alone
    catalogue   what each of them is, described in a child process and cached
    loading     the class itself, in this process (compute child, `evaluate`, judging child, kits)

Importing this package, or any of its modules, imports no plugin, torch, numpy or scipy.
"""

from falsefloor.plugins.catalogue import Catalogue, catalogue
from falsefloor.plugins.described import Described, Status
from falsefloor.plugins.names import KINDS, Plugin, discover

__all__ = ["KINDS", "Catalogue", "Described", "Plugin", "Status", "catalogue", "discover"]
