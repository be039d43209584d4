"""The renderer of CUDA devices, compiled by Triton."""
