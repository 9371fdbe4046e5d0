"""Losses, the training step and the loop."""
