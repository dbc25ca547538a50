"""Micro-benchmarks of this machine."""
