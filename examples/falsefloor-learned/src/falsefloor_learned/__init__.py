"""A vector quantiser that learns its codebook from a study's inputs, as a falsefloor plugin."""
