"""Measurements of chat-session beside its peers. Run with ``python -m benchmarks``; see README.md."""
