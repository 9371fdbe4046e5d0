"""Metrics, and what a restoration scores by them."""
