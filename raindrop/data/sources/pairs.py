"""Any folder of pairs."""

from collections.abc import Sequence
from typing import Any

from raindrop.data import layouts, scenes
from raindrop.data.pairs import PairSet
from raindrop.data.sources.source import PairSource, Part


class Pairs(PairSource):
    """The pairs of a folder, laid out in one of the ways that `layouts` knows."""

    name = "pairs"

    def open(self, where: Any, split: str) -> PairSet:
        """As `layouts.find_usable`; there are no splits."""
        del split
        return self._set(
            layouts.find_usable(where.dir, where.rainy, where.clean, self.skip)
        )

    def _set(self, usable: layouts.Usable) -> PairSet:
        files = usable.files
        return PairSet(
            [pair.name for pair in files],
            lambda position: files[position].read(),
            usable.sizes,
            lambda: scenes.of_files(files, self.config.check.same_scene),
            usable.failed,
        )

    def parts(self) -> Sequence[Part]:
        """The set, and lines on what of it cannot be used."""
        return [self._part(self.name, self.config.data, trained_on=True)]

    def evaluation_part(self) -> Part:
        """Likewise."""
        return self._part("eval", self._where(), trained_on=False)

    def _part(self, title: str, where: Any, trained_on: bool) -> Part:
        found, alone = layouts.find(where.dir, where.rainy, where.clean)
        usable = layouts.usable(found)
        lines = (
            [f"{title}: {len(alone)} pictures without a counterpart"] if alone else []
        )
        lines += [f"  {path}" for path in alone]
        lines += [f"{title}: {line}" for line in usable.failed]
        return Part(title, self._set(usable), lines, trained_on)
