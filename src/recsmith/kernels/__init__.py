"""Kernels, by kind of platform."""
