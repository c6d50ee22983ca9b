"""What to do: the SPEC grammar, the study and its TOML file, units of work and their identity. Torch-free."""
