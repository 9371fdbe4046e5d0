"""Video containers: what each can hold, and how one is made of finished segments."""

import fractions
import heapq
import io
import itertools
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av

from raindrop.errors import UserError, first_line
from raindrop.media import atomic

_LOG = logging.getLogger(__name__)

# Extension -> container and codec of what is written.
WRITTEN = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".avi": ("avi", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}


def open_(path: Path, mode: str = "r", **options: Any) -> Any:
    """PyAV's container; of a name such as 12:30.mp4 FFmpeg takes 12 for a protocol."""
    return av.open(str(path.absolute()), mode, **options)


def _tracks(container: Any) -> list[Any]:
    """What is copied as it is."""
    return [*container.streams.audio, *container.streams.subtitles]


def _holds(container_format: str, track: Any) -> bool:
    """Whether a copy of a track can stand in a container."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(track)
            trial.start_encoding()
        return True
    except (av.FFmpegError, ValueError):
        return False


def tell_losses(source: Path, target: Path, deep: bool) -> None:
    """Warns of what `source` has and `target` cannot hold; `deep`: over 8 bits."""
    extension = target.suffix.lower()
    container_format, codec = WRITTEN[extension]
    if deep and codec != "libx264":
        _LOG.warning(
            "%s gets 8 bits, where %s has more; .mkv would keep 10", target, source
        )
    with open_(source) as original:
        for track in _tracks(original):
            if _holds(container_format, track):
                continue
            others = [e for e in (".mkv", *WRITTEN) if _holds(WRITTEN[e][0], track)]
            _LOG.warning(
                "%s leaves out the %s (%s) of %s, which %s cannot hold%s",
                target,
                track.type,
                track.codec_context.name if track.codec_context else "unknown",
                source,
                extension,
                f"; {others[0]} would keep it" if others else "",
            )


def join(
    segments: list[Path],
    source: Path,
    target: Path,
    rate: fractions.Fraction,
    time_base: fractions.Fraction,
) -> None:
    """Copies the segments' frames, and what goes with them in `source`, to `target`.

    Raises:
      UserError: `target` cannot be written.
    """
    container_format, _ = WRITTEN[target.suffix.lower()]
    options = {}
    if container_format in ("mp4", "mov"):
        options["movflags"] = "+faststart"
    if container_format == "avi":
        # It has no time stamps, only a rate, and fills what is left free with empty
        # frames, at the start too.
        options["avoid_negative_ts"] = "make_zero"
        time_base = 1 / rate
    try:
        with (
            atomic.aside(target) as part,
            open_(part, "w", format=container_format, options=options) as out,
            open_(source) as original,
            open_(segments[0]) as first,
        ):
            out.metadata.update(original.metadata)
            video = out.add_stream_from_template(first.streams.video[0])
            video.time_base = time_base
            video.codec_context.framerate = rate
            video.metadata.update(original.streams.video[0].metadata)
            copies = {}
            for track in _tracks(original):
                if _holds(container_format, track):
                    copies[track] = out.add_stream_from_template(track)
                    copies[track].metadata.update(track.metadata)
            for packet in heapq.merge(
                _video_packets(segments, video, time_base),
                _copied_packets(original, copies),
                key=lambda p: p.dts * p.time_base,
            ):
                out.mux(packet)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{target} cannot be written: {first_line(error)}") from None


def _video_packets(
    segments: list[Path], stream: Any, time_base: fractions.Fraction
) -> Iterator[av.Packet]:
    def packets() -> Iterator[av.Packet]:
        last = -math.inf
        for path in segments:
            with open_(path) as segment:
                for packet in segment.demux(video=0):
                    if packet.size:
                        time = round(packet.pts * packet.time_base / time_base)
                        # At a variable rate several may be rounded to one moment.
                        last = max(time, last + 1)
                        packet.pts = packet.dts = last
                        packet.time_base, packet.stream = time_base, stream
                        yield packet

    length = 0
    for packet, following in itertools.pairwise(itertools.chain(packets(), [None])):
        if following is not None:
            length = following.pts - packet.pts
        packet.duration = length
        yield packet


def _copied_packets(original: Any, copies: Mapping[Any, Any]) -> Iterator[av.Packet]:
    if not copies:
        return
    ends: dict[Any, tuple[int, int]] = {}
    for packet in original.demux(*copies):
        if packet.dts is None:
            continue
        track = packet.stream
        if track.type == "audio":
            # Where a broken stream starts again the sound goes on, as the frames do.
            last, following = ends.get(track, (packet.dts - 1, packet.dts))
            if packet.dts <= last:
                packet.pts = packet.dts = following
            ends[track] = packet.dts, packet.dts + (packet.duration or 1)
        packet.stream = copies[track]
        yield packet
