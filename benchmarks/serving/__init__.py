"""Measures servers under load: `python -m benchmarks.serving`."""
