"""The CLEVER score of the Adversarial Robustness Toolbox, as a falsefloor plugin."""
