"""The frames of a video that may be damaged, as FFmpeg shows them, and what is lost.

A player goes on after a packet that it cannot decode, and so does this: what is missing
is marked at its place, so that the frames after it keep theirs, and noted.
"""

import functools
from collections.abc import Iterator
from typing import Any

import av

from raindrop.media import containers
from raindrop.media.damage import Damage
from raindrop.media.frame_order import Decoded, FrameOrder
from raindrop.media.packets import Source, listen

# FFmpeg's own decoders of these leave the alpha plane away.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


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
        self._source = Source(container, stream, self.damage)
        self._order = FrameOrder(container, stream, self.damage)

    def __iter__(self) -> Iterator[Decoded]:
        """Yields all frames, lost ones too; at the end `damage` is complete."""
        for packet in self._source.packets():
            fed = self._order.fed(packet, self._source.empty)
            packet.opaque = fed
            decode = functools.partial(self._context.decode, packet)
            frames, fed.trouble = listen(decode)
            fed.refused = frames is None
            yield from self._order.take(frames or [], fed)
        empty = av.Packet()
        empty.stream, empty.time_base = self._stream, self._stream.time_base
        frames, trouble = listen(functools.partial(self._context.decode, empty))
        yield from self._order.take(frames or [], None, trouble)


def _context(stream: Any) -> Any:
    """What decodes a stream, with its alpha plane if it has one."""
    own = stream.codec_context
    if own.name not in _WITH_ALPHA or not containers.has_alpha_mode(stream):
        return own
    context = av.CodecContext.create(_WITH_ALPHA[own.name], "r")
    for tag in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(context, tag, getattr(own, tag))
    return context
