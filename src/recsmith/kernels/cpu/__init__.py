"""CPU kernels: wraps the native extension."""
