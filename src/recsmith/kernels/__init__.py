"""Kernels, by kind of platform: what can run an op by a data flow. The menu."""

from recsmith.spec import Registry

KERNELS = Registry("kernels", {"cpu": "recsmith.kernels.cpu:CpuKernels", "cuda": "recsmith.kernels.cuda:CudaKernels"})
