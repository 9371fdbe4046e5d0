"""A damaged video's frames in the order in which they are shown, and which are lost.

By the stamps of the packets that went to the decoder, or by their order in the file
where they have none.
"""

import collections
import dataclasses
import statistics
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from raindrop.media.damage import Damage

# Of the usual time to the next frame: packets that are closer together than this are
# not frames of their own, but second fields or pictures that are never shown.
_LEAST_STEP = 0.6
_PATIENCE = 8  # frames that wait for one that should have come before them
_RESTART = 6  # frames back in time: the stream starts again, it is not damaged
_LEAST_GAPS, _HIGHEST_RATE = 8, 120  # frames that tell the usual rate; a second
_LONGEST_HOLE = 5  # seconds that are filled with the frame before


@dataclasses.dataclass
class Decoded:
    """A frame in the order in which they are shown.

    Attributes:
      frame: None where it could not be decoded.
      time: its stamp in units of the stream, or None.
      flawed: whether its decoder had to conceal something.
      whole: whether nothing that it was predicted from is damaged.
    """

    frame: av.VideoFrame | None
    time: int | None
    flawed: bool = False
    whole: bool = True


@dataclasses.dataclass(eq=False)
class Fed:
    """A packet that the decoder got. It comes back with the frame made of it.

    Attributes:
      key: where its frame stands among those shown: how often the stream has started
        again, and the stamp; None where there is none.
      empty: frames before it that are left out, since they are as the one before.
      trouble: what the decoder said of it.
      refused: whether there will be no frame of it.
    """

    key: tuple[int, int] | None
    empty: int = 0
    trouble: str = ""
    refused: bool = False


class FrameOrder:
    """Frames in the order in which they are shown, each lost one in its place.

    Args:
      container: open for reading.
      stream: of it.
      damage: gets a note of frames that were never there.
    """

    def __init__(self, container: Any, stream: Any, damage: Damage) -> None:
        self._damage, self._time_base = damage, stream.time_base
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        self._step = 1 / (rate * stream.time_base)
        # Broadcasts have a frame for each moment; a hole is what was not received.
        name = container.format.name
        self._broadcast, self._avi = name.startswith(("mpeg", "asf")), name == "avi"
        self._gaps: collections.deque[int] = collections.deque(maxlen=25)
        if stream.average_rate in (None, stream.base_rate) and rate <= _HIGHEST_RATE:
            self._gaps.extend(_LEAST_GAPS * [round(self._step)])
        self._epoch = self._shown = 0
        self._pending: list[Fed] = []
        self._held: list[tuple[Fed, Decoded]] = []
        self._last: tuple[int, int] | None = None
        # How far the decoder has got: no later packet is shown before that.
        self._sent: tuple[int, int] | None = None
        self._hurt = self._begun = False
        # Packets between one and its frame, where stamps do not tell; None: not known.
        self._delay: int | None = None

    def fed(self, packet: av.Packet, empty: int) -> Fed:
        """Notes a packet that goes to the decoder; `empty`: see `packets.Source`."""
        key = sent = None
        if packet.dts is not None:
            before = self._sent and self._sent[1]
            if before is not None and packet.dts < before - _RESTART * self._step:
                self._epoch += 1
            sent = (self._epoch, packet.dts)
        # What AVI has for stamps are numbers in the order of the file.
        if packet.pts is not None and not self._avi:
            key = (self._epoch, packet.pts)
        self._sent = sent
        self._pending.append(Fed(key, empty))
        return self._pending[-1]

    def take(
        self, frames: list[av.VideoFrame], fed: Fed | None, trouble: str = ""
    ) -> Iterator[Decoded]:
        """What can be shown once a packet was decoded.

        Args:
          frames: that the decoder gave.
          fed: the packet; None: there are no more.
          trouble: what the decoder said where there are no more.
        """
        self._hurt |= bool(trouble or (fed and fed.trouble))
        for frame in frames:
            yield from self._sorted(frame)
        yield from self._release(everything=fed is None)
        if fed is None or fed.key is None:
            yield from self._unstamped(at_end=fed is None)
        if fed is None and self._hurt:
            yield from self._lost_before(None)

    def _sorted(self, frame: av.VideoFrame) -> Iterator[Decoded]:
        fed = frame.opaque
        flawed = frame.is_corrupt or bool(fed and fed.trouble)
        self._hurt |= flawed
        item = Decoded(frame, frame.pts, flawed, not self._hurt or frame.key_frame)
        if fed in self._pending:
            self._pending.remove(fed)
        elif fed is not None and self._hurt:
            return  # shown already, or given up for lost
        if frame.key_frame and not flawed:
            # Nothing after it refers to what was before it.
            self._hurt = any(other.trouble for other in self._pending)
        if fed is None or fed.key is None:
            yield from self._unstamped(before=fed)
            self._begun = True
            yield self._numbered(item, fed)
            return
        for other, early in self._held:
            if fed.key < other.key:
                # A decoder gives frames in their order, unless their numbers are wrong.
                early.flawed = self._hurt = True
        self._held.append((fed, item))
        self._held.sort(key=lambda held: held[0].key)
        yield from self._release()

    def _release(self, everything: bool = False) -> Iterator[Decoded]:
        """The frames that nothing before them is still to come of."""
        while self._held:
            fed, item = self._held[0]
            if not everything and len(self._held) < _PATIENCE and self._waits(fed):
                return
            del self._held[0]
            yield from self._lost_before(fed.key)
            yield from self._not_received(fed.key)
            self._last, self._begun = fed.key, True
            yield item

    def _waits(self, fed: Fed) -> bool:
        """Whether what should be shown before it may still come."""
        before = self._sent is not None and self._sent < fed.key
        return before or any(self._overdue(fed.key, refused=False))

    def _overdue(self, key: tuple[int, int] | None, refused: bool) -> Iterator[Fed]:
        """Packets whose frames should have come before `key`, or at all (None)."""
        for fed in self._pending:
            if fed.key is None or (key is not None and fed.key >= key):
                continue
            if refused if fed.refused else self._is_frame(fed, key):
                yield fed

    def _is_frame(self, fed: Fed, following: tuple[int, int] | None) -> bool:
        """Whether a packet is as far from its neighbours as frames are."""
        for other in (self._last, following):
            same_epoch = other is not None and other[0] == fed.key[0]
            if same_epoch and abs(fed.key[1] - other[1]) < _LEAST_STEP * self._step:
                return False
        return True

    def _lost_before(self, key: tuple[int, int] | None) -> Iterator[Decoded]:
        """Marks for frames that will not come any more."""
        while self._hurt:
            overdue = list(self._overdue(key, refused=True))
            if not overdue:
                break
            fed = min(overdue, key=lambda one: one.key)
            self._pending.remove(fed)
            self._last = fed.key
            yield Decoded(None, fed.key[1], whole=False)
        self._pending = [
            fed
            for fed in self._pending
            if fed.key is None or (key is not None and fed.key > key)
        ]

    def _not_received(self, key: tuple[int, int]) -> Iterator[Decoded]:
        """Marks for frames of which nothing is there, where all should be."""
        if self._last is None or self._last[0] != key[0] or not self._broadcast:
            return
        start, gap = self._last[1], key[1] - self._last[1]
        usual = self._usual_gap()
        self._gaps.append(gap)
        if usual is None or gap < 1.75 * usual:
            return
        if gap * self._time_base < _LONGEST_HOLE:
            for number in range(1, round(gap / usual)):
                yield Decoded(None, start + round(number * usual))
        elif not self._damage.container:
            seconds = float(key[1] * self._time_base)
            self._damage.container = f"frames are missing before {seconds:.2f} s"

    def _usual_gap(self) -> float | None:
        """From a frame to the next, if nearly all of the last ones were alike."""
        if len(self._gaps) < _LEAST_GAPS:
            return None
        usual = statistics.median(self._gaps)
        alike = sum(abs(gap - usual) <= 0.1 * usual for gap in self._gaps)
        return usual if usual and alike >= 0.8 * len(self._gaps) else None

    def _unstamped(
        self, at_end: bool = False, before: Fed | None = None
    ) -> Iterator[Decoded]:
        """Frames lost where packets have no stamps, by the order of the file.

        Args:
          at_end: whether nothing comes any more.
          before: whose frame is about to be shown, if there is one.
        """
        waiting = [fed for fed in self._pending if fed.key is None]
        if not self._hurt:
            if self._begun:
                self._delay = max(self._delay or 0, len(waiting))
            return
        if not (self._begun or at_end or before):
            return
        while waiting:
            late = len(waiting) - sum(fed.refused for fed in waiting)
            given_up = self._delay is not None and late > self._delay
            if not (waiting[0].refused or given_up or at_end):
                break
            self._pending.remove(waiting[0])
            yield self._numbered(Decoded(None, None, whole=False), waiting.pop(0))

    def _numbered(self, item: Decoded, fed: Fed | None) -> Decoded:
        """A frame without a stamp, with one if the container counts its frames."""
        if self._avi and fed is not None:
            item.time = self._shown + fed.empty
            self._shown += 1
        return item
