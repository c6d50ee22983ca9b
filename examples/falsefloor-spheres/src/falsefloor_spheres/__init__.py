"""A model whose distances are known exactly, its inputs, a masker and a check, as falsefloor plugins."""
