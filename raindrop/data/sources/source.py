"""What a source of pictures is, and what all sources of pairs share."""

import abc
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from raindrop.data import scenes
from raindrop.data.pairs import PairSet, Readable, shorten
from raindrop.errors import UserError

_LOG = logging.getLogger(__name__)

# Names of pictures, and what decodes the one at a position; see `PictureCache`.
Training = tuple[Sequence[str], Callable[[int], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Part:
    """A set that `check` looks at.

    Attributes:
      title: of the set, in the report.
      pairs: that can be used; None for photographs.
      lines: on the set, and on what cannot be used.
      trained_on: whether a run trains on it, but for what it holds out.
    """

    title: str
    pairs: PairSet | None
    lines: Sequence[str] = ()
    trained_on: bool = False


class Source(abc.ABC):
    """One kind of pictures to train and evaluate on.

    Attributes:
      name: by which a config chooses it; a class without one is no source by itself.
      rendered: whether it gives clean photographs, for drops to be rendered on, rather
        than pairs.
      config: the whole config.
      skip: whether pictures that cannot be read are named and left out.
    """

    kinds: ClassVar[dict[str, type["Source"]]] = {}
    name: ClassVar[str]
    rendered: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            Source.kinds[cls.name] = cls

    def __init__(self, config: Any) -> None:
        self.config = config
        self.skip = config.data.on_error == "skip"

    @abc.abstractmethod
    def training(self) -> Training:
        """What to train on, all but what is held out.

        Raises:
          UserError: data that is not there or not usable, or smaller than the crop.
        """

    @abc.abstractmethod
    def held_out(self) -> PairSet:
        """What is not trained on, to choose checkpoints by.

        Raises:
          UserError: data that is not there or not usable.
        """

    @abc.abstractmethod
    def evaluation(self) -> PairSet:
        """What `evaluate` scores on.

        Raises:
          UserError: data that is not there or not usable.
        """

    @abc.abstractmethod
    def parts(self) -> Sequence[Part]:
        """The sets in `data.dir` or the like, for `check`; first the one trained on.

        Raises:
          UserError: data that is not there.
        """

    def evaluation_part(self) -> Part:
        """What `evaluation` gives, for `check`.

        Raises:
          UserError: data that is not there.
        """
        pairs = self.evaluation()
        return Part("eval", pairs, pairs.failed)

    def is_trained_on(self) -> bool:
        """Whether a run on this source trains on what `evaluation` gives."""
        return True

    def record(self, evaluating: bool = False) -> dict[str, str]:
        """What is read, to be written beside a result: name, folder and so on.

        Args:
          evaluating: of what `evaluation` gives, not of what is trained on.
        """
        del evaluating
        return {"name": self.name}

    def readable(self, pairs: PairSet) -> Readable:
        """The pairs of a set, read as `data.on_error` says."""
        return Readable(pairs, self.skip)


class PairSource(Source):
    """A source of pairs; a subclass says how to open them, and this does the rest.

    Attributes:
      splits: names that `eval.split` may have; none where the set has no splits.
      training_split: what is trained on; `held_out` is taken from it.
      default_split: what is evaluated on where `eval.split` is ''.
    """

    splits: ClassVar[tuple[str, ...]] = ()
    training_split: ClassVar[str] = ""
    default_split: ClassVar[str] = ""

    @abc.abstractmethod
    def open(self, where: Any, split: str) -> PairSet:
        """The pairs of a split.

        Args:
          where: config group with the fields dir, rainy and clean.
          split: one of `splits`, or '' where there are none.

        Raises:
          UserError: data that is not there or not usable.
        """

    def training(self) -> Training:
        """All pairs of the training split but those held out and their scenes."""
        pairs = self.open(self.config.data, self.training_split)
        split = self.split(pairs)
        if split.shared:
            _LOG.warning(
                "%s: the pairs held out show scenes that are trained on, for want of "
                "others; their score says nothing about new scenes",
                self.name,
            )
        if split.left_out:
            _LOG.info(
                "%s: %d pairs held out; %d more of the same scenes are left out of "
                "training",
                *(self.name, len(split.held_out), len(split.left_out)),
            )
        if not split.train:
            raise UserError(
                "there is one pair, and it is held out for evaluation; give more of "
                "them, or set eval.num_images=0 to train on it"
            )
        kept = pairs.subset(split.train)
        if kept.sizes:
            sides = [min(size) for size in kept.sizes]
            kept = kept.subset(large_enough(kept.names, sides, self.config.data))

        def decode(position: int) -> np.ndarray:
            pair = kept.read(position)
            return np.concatenate([pair.rainy, pair.clean], axis=-1)

        return kept.names, decode

    def split(self, pairs: PairSet) -> scenes.Split:
        """What of `pairs` to train on, and what to hold out; see `scenes.split`."""
        count = self.config.eval.num_images
        return scenes.split(pairs.names, pairs.labels() if count else (), count)

    def held_out(self) -> PairSet:
        """The pairs held out; all that are trained on where `eval.num_images` is 0."""
        pairs = self.open(self.config.data, self.training_split)
        held_out = self.split(pairs).held_out
        if not held_out:
            _LOG.warning(
                "eval.num_images is 0: evaluating on pairs that are trained on, which "
                "says nothing about others"
            )
        return pairs.subset(held_out) if held_out else pairs

    def evaluation(self) -> PairSet:
        """All pairs of `eval.dir` or the like, or of `data.dir`; of `eval.split`."""
        return self.open(self._where(), self._split_name())

    def parts(self) -> Sequence[Part]:
        """The training split."""
        pairs = self.open(self.config.data, self.training_split)
        return [Part(self.name, pairs, pairs.failed, trained_on=True)]

    def is_trained_on(self) -> bool:
        """Whether `evaluation` gives the training split."""
        elsewhere = self._where() is self.config.eval
        return not elsewhere and self._split_name() == self.training_split

    def record(self, evaluating: bool = False) -> dict[str, str]:
        """The folders, and the split of a set that has some."""
        where = self._where() if evaluating else self.config.data
        split = self._split_name() if evaluating else self.training_split
        found = {field: where[field] for field in ("dir", "rainy", "clean")}
        found = {"name": self.name} | found | {"split": split}
        return {field: value for field, value in found.items() if value}

    def _where(self) -> Any:
        """The group that says where the pairs to evaluate on are."""
        of_its_own = self.config.eval.dir or self.config.eval.rainy
        return self.config.eval if of_its_own else self.config.data

    def _split_name(self) -> str:
        if not self.splits:
            return ""
        name = self.config.eval.split or self.default_split
        if name not in self.splits:
            raise UserError(
                f"eval.split must be one of {', '.join(self.splits)} with "
                f"data.name={self.name}, not {name!r}"
            )
        return name


def large_enough(names: Sequence[str], sides: Sequence[int], data: Any) -> list[int]:
    """Positions of the pictures that a crop fits into; the others are named.

    Args:
      names: of the pictures.
      sides: the shorter side of each, in pixels.
      data: config group with `crop_size`.

    Raises:
      UserError: it fits into none.
    """
    size = data.crop_size
    if max(sides) < size:
        raise UserError(
            f"data.crop_size is {size}, but no picture is larger than "
            f"{max(sides)} on its short side; take a smaller crop"
        )
    small = [name for name, side in zip(names, sides, strict=True) if side < size]
    if small:
        _LOG.warning(
            "%d of %d pictures are smaller than the crop of %d and left out (%s)",
            *(len(small), len(names), size, shorten(small)),
        )
    return [i for i, side in enumerate(sides) if side >= size]
