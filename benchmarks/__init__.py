"""Measurements on real servers; `python -m benchmarks` prints them all."""
