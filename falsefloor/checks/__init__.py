"""Checks by family, the catalogue of codes, and the judge: stored facts in, findings and a verdict out."""
