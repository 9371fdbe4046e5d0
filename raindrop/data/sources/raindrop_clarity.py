"""Raindrop Clarity: drops by day and by night, in focus or not."""

from typing import Any, ClassVar

from raindrop.data.sources.built import BuiltSource

_TRAIN, _TEST = ("day_train", "night_train"), ("day_test", "night_test")


class RaindropClarity(BuiltSource):
    """Jin et al.'s 15,186 pairs in scenes; see `raindrop.data.raindrop_clarity`."""

    name = "raindrop_clarity"
    joined: ClassVar = {"train": _TRAIN, "test": _TEST}
    splits = ("train", "test", *_TRAIN, *_TEST)
    training_split = "train"
    default_split = "test"

    def builder(self) -> Any:
        """See `BuiltSource`."""
        from raindrop.data import raindrop_clarity

        return raindrop_clarity.Builder
