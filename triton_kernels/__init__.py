"""Triton kernels of the update, and their calls through jax-triton. Knows arrays, not layers."""
