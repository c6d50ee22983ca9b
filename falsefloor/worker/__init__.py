"""Who computes: the supervisor (the only writer, torch-free), the compute processes, executors, launching."""
