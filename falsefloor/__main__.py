"""`python -m falsefloor`: the command line where the console script is not on the path."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory: what lies there must not be imported in a library's place

from falsefloor.cli import main

main()
