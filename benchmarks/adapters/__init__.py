"""Each agent framework's own backend next to ours, with the same calls: ``python -m benchmarks.adapters.NAME``."""
