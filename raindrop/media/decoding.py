"""The frames of a video that may be damaged, as FFmpeg shows them, and what is lost.

A player goes on after a packet that it cannot decode, and so does this: what is missing
is marked at its place, so that the frames after it keep theirs, and noted.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.logging

from raindrop.errors import first_line

# A decoder that conceals a fault tells of it in its log alone. What it says elsewhere
# than in `_listen` goes nowhere.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())

# Of the time to the next frame: packets that are closer together than this are not
# frames of their own, but second fields or pictures that are never shown.
_LEAST_STEP = 0.5
_TOLERANCE = 0.1  # seconds that a header may be off


@dataclasses.dataclass
class Damage:
    """What of a video could not be read. Frames are (number from 0, seconds).

    Attributes:
      lost: that could not be decoded; they repeat the one before, the first ones the
        one after.
      flawed: that were decoded with faults, as FFmpeg conceals them.
      smeared: the last frame that was predicted from damaged ones, where it is behind
        all of these.
      container: what was wrong with the file rather than with a frame.
      missing: what is not there at all, against what the file's header says.
    """

    lost: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    flawed: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    smeared: tuple[int, float] | None = None
    container: str = ""
    missing: str = ""

    def sentences(self) -> list[str]:
        """What is to be told of it; empty where the video is whole."""
        told = []
        if self.lost:
            told.append(
                f"{_counted(self.lost)} could not be decoded and repeat"
                f"{'s' * (len(self.lost) == 1)} the one before: {_ranges(self.lost)}"
            )
        if self.flawed:
            told.append(
                f"{_counted(self.flawed)} decoded with faults: {_ranges(self.flawed)}"
            )
        last = max(self.lost + self.flawed, default=(0, 0.0))
        if self.smeared and self.smeared > last:
            number, seconds = self.smeared
            told.append(
                f"those up to {number} ({seconds:.2f} s) build on them and may be "
                "smeared"
            )
        return [*told, *filter(None, (self.container, self.missing))]


def _counted(frames: list[tuple[int, float]]) -> str:
    return f"{len(frames)} frame{'s' * (len(frames) > 1)}"


def _ranges(frames: list[tuple[int, float]], most: int = 8) -> str:
    """Numbers and times, neighbours taken together."""
    runs: list[list[tuple[int, float]]] = []
    for frame in sorted(frames):
        if runs and frame[0] == runs[-1][-1][0] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    texts = []
    for run in runs[:most]:
        (first, start), (last, end) = run[0], run[-1]
        one = first == last
        numbers = f"{first}" if one else f"{first}-{last}"
        times = f"{start:.2f}" if one else f"{start:.2f}-{end:.2f}"
        texts.append(f"{numbers} ({times} s)")
    if len(runs) > most:
        texts.append(f"and {len(runs) - most} more places")
    return ", ".join(texts)


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
class _Fed:
    """A packet that the decoder got. It comes back with the frame made of it.

    Attributes:
      number: in the order of the file.
      key: where its frame stands among those shown: streams that start again, stamp.
      length: duration in units of the stream.
      trouble: what the decoder said of it.
    """

    number: int
    key: tuple[int, int] | None
    length: float
    trouble: str = ""


class Decoder:
    """Decodes one stream, each packet under its own guard.

    Args:
      container: open for reading.
      stream: of it.

    Attributes:
      damage: what was found so far; frames are noted by whoever counts them.
      packets: of the stream that were there.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        # Frames decoded in parallel hide a fault at the end of a file; and decoding is
        # a small part of the work.
        stream.thread_type = "SLICE"
        stream.thread_count = 1
        stream.codec_context.copy_opaque = True
        self.damage = Damage()
        self.packets = 0
        self._empty = 0
        self._pending: dict[int, _Fed] = {}
        self._hurt = False
        self._last: tuple[int, int] | None = None
        self._emitted = 0
        self._delay = 0
        rate = stream.base_rate or stream.average_rate or Fraction(25)
        self._step = 1 / (rate * stream.time_base)

    def __iter__(self) -> Iterator[Decoded]:
        """Yields all frames, lost ones too; at the end `damage` is complete."""
        for packet, fed in self._fed():
            if fed is not None:
                packet.opaque = fed
                self._pending[fed.number] = fed
            frames, trouble = _listen(packet.decode)
            if trouble and fed is not None:
                fed.trouble, self._hurt = trouble, True
            for frame in frames or ():
                yield from self._shown(frame)
            yield from self._unstamped(fed)
        yield from self._rest()

    def _fed(self) -> Iterator[tuple[av.Packet, _Fed | None]]:
        """Packets with data, and one without at the end, which empties the decoder."""
        epoch, before = 0, None
        for packet in self._whole_packets():
            if packet.dts is not None:
                epoch += before is not None and packet.dts < before
                before = packet.dts
            key = None if packet.pts is None else (epoch, packet.pts)
            length = min(packet.duration or self._step, self._step)
            yield packet, _Fed(self.packets, key, length)
            self.packets += 1
        empty = av.Packet()
        empty.stream, empty.time_base = self._stream, self._stream.time_base
        yield empty, None

    def _whole_packets(self) -> Iterator[av.Packet]:
        """The stream's packets but for a last one that the file ends in."""
        expected = _indexed(self._container, self._stream)
        held, end = None, Fraction(0)
        for packet in self._demuxed():
            if packet.duration is not None and packet.pts is not None:
                end = max(end, (packet.pts + packet.duration) * packet.time_base)
            if packet.stream.index != self._stream.index:
                continue
            if held is not None:
                yield held
            held = packet
        cut = held is not None and held.is_corrupt
        if held is not None and not cut:
            yield held
        self.damage.missing = self._missing(expected, end, cut)

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets of all streams that have data."""
        packets = self._container.demux()
        while True:
            packet, trouble = _listen(lambda: next(packets, None), self._container)
            if trouble and not self.damage.container:
                self.damage.container = f"the container is damaged: {trouble}"
            if packet is None:
                return
            if packet.size:
                yield packet
            elif packet.dts is not None and packet.stream.index == self._stream.index:
                self._empty += 1  # AVI's way to say that the frame before goes on

    def _missing(self, expected: int, end: Fraction, cut: bool) -> str:
        if expected > self.packets + self._empty:
            return f"the file ends after {self.packets} of {expected} frames"
        duration = self._container.duration
        if duration is None or not _declares_duration(self._container):
            return "the file ends within a frame" if cut else ""
        start = Fraction(self._container.start_time or 0, av.time_base)
        whole = Fraction(duration, av.time_base)
        if whole - (end - start) > 2 * self._step * self._stream.time_base + _TOLERANCE:
            return f"the file ends after {end - start:.2f} of {whole:.2f} s"
        return "the file ends within a frame" if cut else ""

    def _shown(self, frame: av.VideoFrame) -> Iterator[Decoded]:
        """A frame, and before it those that should have come before it."""
        fed = frame.opaque
        flawed = frame.is_corrupt or bool(fed and fed.trouble)
        self._hurt |= flawed
        if fed is not None:
            self._pending.pop(fed.number, None)
            if fed.key is not None:
                yield from self._lost_before(fed.key)
                self._last = fed.key
        whole = not self._hurt
        if frame.key_frame and not flawed:
            # Nothing after it refers to what was before it.
            self._hurt = any(f.trouble for f in self._pending.values())
            whole = True
        self._emitted += 1
        yield Decoded(frame, frame.pts, flawed, whole)

    def _lost_before(self, key: tuple[int, int]) -> Iterator[Decoded]:
        overdue = [f for f in self._pending.values() if f.key and f.key < key]
        for fed in sorted(overdue, key=lambda f: f.key):
            del self._pending[fed.number]
            if self._hurt and self._is_frame(fed, key):
                yield self._lost(fed)

    def _is_frame(self, fed: _Fed, following: tuple[int, int] | None) -> bool:
        least = _LEAST_STEP * fed.length
        for other in (self._last, following):
            same_epoch = other is not None and other[0] == fed.key[0]
            if same_epoch and abs(fed.key[1] - other[1]) < least:
                return False
        return True

    def _lost(self, fed: _Fed) -> Decoded:
        self._last = fed.key
        self._emitted += 1
        return Decoded(None, fed.key[1], whole=False)

    def _unstamped(self, fed: _Fed | None) -> Iterator[Decoded]:
        """Frames lost where packets have no stamps: by their number alone."""
        if fed is not None and fed.key is not None:
            return
        waiting = sum(f.key is None for f in self._pending.values())
        if fed is not None and not self._hurt:
            self._delay = max(self._delay, waiting)
        elif self._hurt and (self._emitted or fed is None):
            most = self._delay if fed is not None else 0
            unstamped = [n for n, f in self._pending.items() if f.key is None]
            for number in unstamped[: max(0, waiting - most)]:
                del self._pending[number]
                self._emitted += 1
                yield Decoded(None, None, whole=False)

    def _rest(self) -> Iterator[Decoded]:
        """What the decoder still owes at the end."""
        stamped = [f for f in self._pending.values() if f.key is not None]
        for fed in sorted(stamped, key=lambda f: f.key):
            if self._hurt and self._is_frame(fed, None):
                yield self._lost(fed)


def _listen(call: Callable[[], Any], container: Any = None) -> tuple[Any, str]:
    """What `call` returns (None if it fails), and what FFmpeg says is wrong with it.

    Args:
      call: of PyAV.
      container: listen to this one alone, not to the parsers that it runs.

    Raises:
      OSError: of the machine rather than of the file.
    """
    result, trouble = None, ""
    with av.logging.Capture() as logs:
        try:
            result = call()
        except av.FFmpegError as error:
            if container is not None and isinstance(error, OSError):
                raise
            trouble = first_line(error)
    said = [
        message.strip()
        for _, name, message in logs
        if container is None or name == container.format.name
    ]
    return result, said[0] if said else trouble


def _indexed(container: Any, stream: Any) -> int:
    """How many packets the header promises, where it tells for certain; else 0."""
    if container.format.name.startswith("mov"):
        # Not `frames`: an edit list may show only some of them.
        return len(stream.index_entries)
    return stream.frames if container.format.name == "avi" else 0


def _declares_duration(container: Any) -> bool:
    """Whether the duration is in the header rather than an estimate."""
    declaring = ("mov", "matroska", "avi", "flv", "asf")
    return container.format.name.startswith(declaring)
