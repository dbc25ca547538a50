"""Descriptions of hardware. The menu."""
