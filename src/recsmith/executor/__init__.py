"""Binds a plan to a machine and runs it."""
