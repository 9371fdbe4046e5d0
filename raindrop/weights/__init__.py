"""Weights made elsewhere, as Flax trees."""
