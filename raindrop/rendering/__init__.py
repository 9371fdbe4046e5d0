"""Raindrops on glass, put before photographs."""
