"""Gradients of convolutions that are fast on a CPU."""
