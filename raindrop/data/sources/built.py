"""What the sources have in common that a TFDS builder prepares."""

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from raindrop.data.pairs import PairSet
from raindrop.data.sources.source import PairSource, Part


class BuiltSource(PairSource):
    """A published set of pairs, in the folder `data.dir` as zip files or folders.

    Attributes:
      joined: splits that are several of the builder's, by name.
    """

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @abc.abstractmethod
    def builder(self) -> Any:
        """The class of the builder, a `PairBuilder`; importing it takes seconds."""

    def open(self, where: Any, split: str) -> PairSet:
        """As `PairBuilder.open_split`; of joined splits, those that are there."""
        there = self._there(where, split)
        sets = {
            name: self.builder().open_split(
                where.dir, name, self.skip, self.config.check.same_scene
            )
            for name in there
        }
        return PairSet.joined(sets) if split in self.joined else sets[split]

    def _there(self, where: Any, split: str) -> list[str]:
        if split not in self.joined:
            return [split]
        builder = self.builder()
        if not where.dir:
            builder.prepare("")  # says what to do
        found = builder.find_sources(Path(where.dir))
        names = self.joined[split]
        # Where there is none, opening the first says so.
        return [name for name in names if name in found] or [names[0]]

    def is_trained_on(self) -> bool:
        """As for all pairs; and where a part of the joined training set is scored."""
        training = (self.training_split, *self.joined.get(self.training_split, ()))
        elsewhere = self._where() is self.config.eval
        return not elsewhere and self._split_name() in training

    def parts(self) -> Sequence[Part]:
        """What is trained on, and the other splits that are there."""
        where, builder = self.config.data, self.builder()
        if not where.dir:
            builder.prepare("")
        found = list(builder.find_sources(Path(where.dir)))
        training = self.joined.get(self.training_split, (self.training_split,))
        parts = []
        if any(name in found for name in training):
            pairs = self.open(where, self.training_split)
            title = f"{self.name}/{self.training_split}"
            parts.append(Part(title, pairs, pairs.failed, trained_on=True))
        for split in found:
            if split not in training:
                pairs = self.open(where, split)
                parts.append(Part(f"{self.name}/{split}", pairs, pairs.failed))
        return parts
