"""The packets of a video file that may be damaged, and what the file lacks."""

import logging
import re
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.logging

from raindrop.media import containers
from raindrop.media.damage import Damage

# A decoder that conceals a fault tells of it in its log alone. What it says elsewhere
# than in `listen` goes nowhere.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").propagate = False
logging.getLogger("libav").addHandler(logging.NullHandler())

# What decoders call an error though it is not one of the picture: what cameras write
# into their own fields, and reference frames kept longer than announced.
_HARMLESS = re.compile(r"\bSEI\b|APP fields|VUI|mmco|number of reference frames")
_TOLERANCE = 0.1  # seconds that a header may be off
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


class Source:
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
            packet, trouble = listen(lambda: next(packets, None), self._container)
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


def listen(call: Callable[[], Any], container: Any = None) -> tuple[Any, str]:
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
