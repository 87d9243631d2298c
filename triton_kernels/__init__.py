"""Triton kernels of the update, and their calls. Knows arrays, not layers."""
