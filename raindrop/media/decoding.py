"""The frames of a video that may be damaged, as FFmpeg shows them, and what is lost.

A player goes on after a packet that it cannot decode, and so does this: what is missing
is marked at its place, so that the frames after it keep theirs, and noted.
"""

import collections
import dataclasses
import functools
import logging
import re
import statistics
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.logging

from raindrop.media import containers
from raindrop.media.damage import Damage

# A decoder that conceals a fault tells of it in its log alone. What it says elsewhere
# than in `_listen` goes nowhere.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").propagate = False
logging.getLogger("libav").addHandler(logging.NullHandler())

# What decoders call an error though it is not one of the picture: what cameras write
# into their own fields, and reference frames kept longer than announced.
_HARMLESS = re.compile(r"\bSEI\b|APP fields|VUI|mmco|number of reference frames")
# Of the usual time to the next frame: packets that are closer together than this are
# not frames of their own, but second fields or pictures that are never shown.
_LEAST_STEP = 0.6
_PATIENCE = 8  # frames that wait for one that should have come before them
_RESTART = 6  # frames back in time: the stream starts again, it is not damaged
_LEAST_GAPS, _HIGHEST_RATE = 8, 120  # frames that tell the usual rate; a second
_LONGEST_HOLE = 5  # seconds that are filled with the frame before
_TOLERANCE = 0.1  # seconds that a header may be off
# FFmpeg's own decoders of these leave the alpha plane away.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


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


class Decoder:
    """Decodes one stream, each packet under its own guard.

    Args:
      container: open for reading.
      stream: of it.

    Attributes:
      damage: what was found so far; frames are noted by whoever counts them.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        # Frames decoded in parallel hide a fault at the end of a file; and decoding is
        # a small part of the work.
        self._context = _context(stream)
        self._context.thread_type = "SLICE"
        self._context.thread_count = 1
        self._context.copy_opaque = True
        self.damage = Damage()
        self._stream = stream
        self._source = _Source(container, stream, self.damage)
        self._sequence = _Sequence(container, stream, self.damage)

    def __iter__(self) -> Iterator[Decoded]:
        """Yields all frames, lost ones too; at the end `damage` is complete."""
        for packet in self._source.packets():
            fed = self._sequence.fed(packet, self._source.empty)
            packet.opaque = fed
            decode = functools.partial(self._context.decode, packet)
            frames, fed.trouble = _listen(decode)
            fed.refused = frames is None
            yield from self._sequence.take(frames or [], fed)
        empty = av.Packet()
        empty.stream, empty.time_base = self._stream, self._stream.time_base
        frames, trouble = _listen(functools.partial(self._context.decode, empty))
        yield from self._sequence.take(frames or [], None, trouble)


def _context(stream: Any) -> Any:
    """What decodes a stream, with its alpha plane if it has one."""
    own = stream.codec_context
    if own.name not in _WITH_ALPHA or not containers.has_alpha_mode(stream):
        return own
    context = av.CodecContext.create(_WITH_ALPHA[own.name], "r")
    for tag in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(context, tag, getattr(own, tag))
    return context


class _Source:
    """The packets of a stream as far as the file has them, and what it lacks.

    Args:
      container: open for reading.
      stream: of it.
      damage: gets `container` and `missing`.

    Attributes:
      empty: frames so far that are left out, since they are as the one before.
    """

    def __init__(self, container: Any, stream: Any, damage: Damage) -> None:
        self._container, self._stream, self._damage = container, stream, damage
        self._count = self.empty = 0
        self._first: int | None = None
        self._end = Fraction(0)

    def packets(self) -> Iterator[av.Packet]:
        """The stream's packets with data, but for a last one that the file ends in."""
        expected = self._indexed()
        held = None
        for packet in self._demuxed():
            if packet.duration is not None and packet.pts is not None:
                end = (packet.pts + packet.duration) * packet.time_base
                self._end = max(self._end, end)
            if packet.stream.index != self._stream.index:
                continue
            if held is not None:
                yield self._numbered(held)
            held = packet
        cut = held is not None and held.is_corrupt
        if held is not None and not cut:
            yield self._numbered(held)
        cut = cut or _ends_early(self._container)
        if self._container.format.name != "avi" or cut:
            # AVI need not tell of frames at its end that are as the one before.
            self._damage.missing = self._missing(expected)
        if cut and not self._damage.missing:
            self._damage.missing = "the file is cut off at its end"

    def _numbered(self, packet: av.Packet) -> av.Packet:
        if self._container.format.name == "avi" and packet.dts is not None:
            # A number that AVI leaves out means: once more the frame before.
            if self._first is None:
                self._first = packet.dts
            self.empty = max(self.empty, packet.dts - self._first - self._count)
        self._count += 1
        return packet

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets of all streams that have data."""
        packets = self._container.demux()
        while True:
            packet, trouble = _listen(lambda: next(packets, None), self._container)
            if trouble and not self._damage.container:
                self._damage.container = f"the container is damaged: {trouble}"
            if packet is None:
                return
            if packet.size:
                yield packet

    def _indexed(self) -> int:
        """How many packets the header promises, where it tells for certain; else 0."""
        if self._container.format.name.startswith("mov"):
            # Not `frames`: an edit list may show only some of them.
            return len(self._stream.index_entries)
        return self._stream.frames if self._container.format.name == "avi" else 0

    def _missing(self, expected: int) -> str:
        """What the header promises and the file does not hold."""
        if expected > self._count + self.empty:
            return f"the file ends after {self._count} of {expected} frames"
        if expected and expected == self._count + self.empty:
            return ""  # another track may well be longer
        # Of other containers the duration is an estimate, from what is there.
        declaring = ("mov", "matroska", "avi", "flv", "asf")
        duration = self._container.duration
        if duration is None or not self._container.format.name.startswith(declaring):
            return ""
        start = Fraction(self._container.start_time or 0, av.time_base)
        whole = float(Fraction(duration, av.time_base))
        there = float(self._end - start)
        frame = 1 / (self._stream.average_rate or 25)
        if whole - there > 2 * frame + _TOLERANCE:
            return f"the file ends after {there:.2f} of {whole:.2f} s"
        return ""


class _Sequence:
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
        self._pending: list[_Fed] = []
        self._held: list[tuple[_Fed, Decoded]] = []
        self._last: tuple[int, int] | None = None
        # How far the decoder has got: no later packet is shown before that.
        self._sent: tuple[int, int] | None = None
        self._hurt = self._begun = False
        # Packets between one and its frame, where stamps do not tell; None: not known.
        self._delay: int | None = None

    def fed(self, packet: av.Packet, empty: int) -> _Fed:
        """Notes a packet that goes to the decoder; `empty`: see `_Source`."""
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
        self._pending.append(_Fed(key, empty))
        return self._pending[-1]

    def take(
        self, frames: list[av.VideoFrame], fed: _Fed | None, trouble: str = ""
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

    def _waits(self, fed: _Fed) -> bool:
        """Whether what should be shown before it may still come."""
        before = self._sent is not None and self._sent < fed.key
        return before or any(self._overdue(fed.key, refused=False))

    def _overdue(self, key: tuple[int, int] | None, refused: bool) -> Iterator[_Fed]:
        """Packets whose frames should have come before `key`, or at all (None)."""
        for fed in self._pending:
            if fed.key is None or (key is not None and fed.key >= key):
                continue
            if refused if fed.refused else self._is_frame(fed, key):
                yield fed

    def _is_frame(self, fed: _Fed, following: tuple[int, int] | None) -> bool:
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
        self, at_end: bool = False, before: _Fed | None = None
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

    def _numbered(self, item: Decoded, fed: _Fed | None) -> Decoded:
        """A frame without a stamp, with one if the container counts its frames."""
        if self._avi and fed is not None:
            item.time = self._shown + fed.empty
            self._shown += 1
        return item


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
            trouble = containers.reason(error)
    said = [
        message.strip()
        for _, name, message in logs
        if (container is None or name == container.format.name)
        and not _HARMLESS.search(message)
    ]
    return result, said[0] if said else trouble


def _ends_early(container: Any) -> bool:
    """Whether a file is shorter than its kind of file can be.

    A transport stream says nowhere how long it is, but has packets of one size. Of ASF
    whose size is not what its header says FFmpeg does not take the duration either.
    """
    if container.format.name == "mpegts":
        return not any(container.size % packet == 0 for packet in (188, 192, 204))
    if container.format.name not in ("asf", "avi"):
        return False
    with open(container.name, "rb") as file:
        header = file.read(1 << 16)
    if container.format.name == "avi":
        (size,) = struct.unpack_from("<I", header, 4)  # of the first of its parts
        return container.size < size + 8
    place = header.find(_ASF_PROPERTIES)
    if place < 0 or len(header) < place + 92:
        return False
    (size,) = struct.unpack_from("<Q", header, place + 40)
    live = header[place + 88] & 1
    return not live and container.size < size
