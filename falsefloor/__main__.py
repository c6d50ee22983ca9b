"""`python -m falsefloor`: the command line where the console script is not on the path."""

from falsefloor.cli import main

main()
