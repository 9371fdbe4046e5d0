"""The networks, as pure Flax modules."""
