"""A run's directory and its SQLite file: paths, schema and migrations, the one writer, the many readers."""
