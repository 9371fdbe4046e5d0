"""The Raindrop data set of Qian et al."""

from typing import Any

from raindrop.data.sources.built import BuiltSource


class Raindrop(BuiltSource):
    """861 pairs to train on and two sets to test on; see `raindrop_dataset`."""

    name = "raindrop"
    splits = ("train", "test_a", "test_b")
    training_split = "train"
    default_split = "test_a"

    def builder(self) -> Any:
        """See `BuiltSource`."""
        from raindrop.data import raindrop_dataset

        return raindrop_dataset.Builder
