"""A video of its finished segments and of what goes with them in the source."""

import fractions
import heapq
import itertools
import logging
import math
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import av

from raindrop.errors import UserError
from raindrop.media import atomic, containers
from raindrop.media.formats import WRITABLE_VIDEOS
from raindrop.media.video import VideoInfo

_LOG = logging.getLogger(__name__)
_PICTURES = {"mjpeg": "jpg", "png": "png", "bmp": "bmp", "gif": "gif", "webp": "webp"}


def tell_losses(source: Path, target: Path, info: VideoInfo) -> None:
    """Warns of what `source` has and `target` cannot hold, or holds as it was."""
    extension = target.suffix.lower()
    container_format, codec = containers.encoding(target, info.alpha)
    if info.deep and codec == "libvpx-vp9":
        _LOG.warning(
            "%s gets 8 bits, where %s has more; .mkv would keep 10", target, source
        )
    for name in info.dropped:
        _LOG.warning(
            "%s leaves out the %s of %s, which is not written", target, name, source
        )
    with containers.open_(source) as original:
        losses = list(_losses(original, info, container_format, codec))
        if info.alpha and not containers.holds_alpha(target):
            losses.insert(0, ("transparency", ".mkv"))
        for what, keeper in losses:
            _LOG.warning(
                "%s leaves out the %s of %s, which %s cannot hold%s",
                target,
                what,
                source,
                extension,
                f"; {keeper} would keep it" if keeper else "",
            )
        for track in containers.companions(original, info.stream):
            held = containers.holds(container_format, track)
            if held and track.type == "video" and not containers.is_cover(track):
                what = containers.describe(track)
                _LOG.warning("%s gets the %s of %s as it is, wet", target, what, source)


def _losses(
    original: Any, info: VideoInfo, container_format: str, codec: str
) -> Iterator[tuple[str, str]]:
    """What a container cannot hold of a video, and which other one could."""
    if info.light and codec != "libx264":
        yield "HDR metadata", "" if info.alpha else ".mkv"
    tags = containers.lost_tags(container_format, original.metadata)
    if tags:
        keeps = container_format != "matroska"
        yield f"tags ({', '.join(tags)})", ".mkv" if keeps else ""
    if container_format == "avi":
        film = original.streams[info.stream]
        even, average = film.guessed_rate, film.average_rate
        if even and average and abs(even / average - 1) > 0.01:
            yield "varying frame rate", ".mkv"
        if original.chapters():
            yield "chapters", ".mkv"
    for track in containers.companions(original, info.stream):
        if not containers.holds(container_format, track):
            others = (
                extension
                for extension in (".mkv", *WRITABLE_VIDEOS)
                if containers.holds(WRITABLE_VIDEOS[extension][0], track)
            )
            yield containers.describe(track), next(others, "")


def join(
    segments: list[Path], source: Path, target: Path, info: VideoInfo, end: int
) -> list[str]:
    """Copies the segments' frames, and what goes with them in `source`, to `target`.

    Args:
      segments: at least one.
      source: where the rest comes from.
      target: what is written.
      info: of the source.
      end: when the last frame ends, in the source's unit of time.

    Returns:
      What is to be told of damage in what was copied.

    Raises:
      UserError: `target` cannot be written.
    """
    try:
        try:
            return _join(segments, source, target, info, end, without=())
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            # A container may find only at its end that a copy cannot be.
            bad = _uncopied(source, target, info)
            if not bad:
                raise
            lost = [f"the {what} cannot be copied" for what in bad.values()]
            return lost + _join(segments, source, target, info, end, without=bad)
    except (av.FFmpegError, OSError) as error:
        raise UserError(
            f"{target} cannot be written: {containers.reason(error)}"
        ) from error


def _uncopied(source: Path, target: Path, info: VideoInfo) -> dict[int, str]:
    """Index and name of each track of which a copy alone fails."""
    container_format, _ = WRITABLE_VIDEOS[target.suffix.lower()]
    bad = {}
    with containers.open_(source) as original:
        tracks = containers.companions(original, info.stream)
        names = {track.index: containers.describe(track) for track in tracks}
    for index, name in names.items():
        others = [other for other in names if other != index]
        trial = atomic.beside(target, ".trial", hidden=True)
        try:
            with (
                containers.open_(source) as original,
                containers.open_(trial, "w", format=container_format) as out,
            ):
                copies = _Copies(out, original, info.stream, container_format, others)
                for packet in copies.packets():
                    out.mux(packet)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            bad[index] = name
        finally:
            trial.unlink(missing_ok=True)
    return bad


def _join(
    segments: list[Path],
    source: Path,
    target: Path,
    info: VideoInfo,
    end: int,
    without: Collection[int],
) -> list[str]:
    """`join`, without the tracks of some indices."""
    container_format, _ = WRITABLE_VIDEOS[target.suffix.lower()]
    time_base = 1 / info.rate if container_format == "avi" else info.time_base
    with (
        atomic.replacing(target) as part,
        containers.open_(source) as original,
        containers.open_(segments[0]) as first,
        containers.open_(
            part,
            "w",
            format=container_format,
            options=containers.options(container_format, original.metadata),
        ) as out,
    ):
        out.metadata.update(original.metadata)
        if original.chapters() and container_format != "avi":
            out.set_chapters(original.chapters())
        video = out.add_stream_from_template(first.streams.video[0])
        video.time_base = time_base
        video.codec_context.framerate = info.rate
        for tag, value in info.colour.items():
            setattr(video.codec_context, tag, value)  # VP9 itself has not all of them
        film = original.streams[info.stream]
        video.metadata.update(
            (k, v) for k, v in film.metadata.items() if k.lower() != "alpha_mode"
        )
        if containers.has_alpha_mode(first.streams.video[0]):
            video.metadata["alpha_mode"] = "1"
        video.disposition = film.disposition
        copies = _Copies(out, original, info.stream, container_format, without)
        length = end * info.time_base / time_base
        for packet in heapq.merge(
            _video_packets(segments, video, time_base, length),
            copies.packets(),
            key=lambda p: p.dts * p.time_base,
        ):
            copies.mux(packet)
    return copies.sentences()


def _video_packets(
    segments: list[Path],
    stream: Any,
    time_base: fractions.Fraction,
    end: fractions.Fraction,
) -> Iterator[av.Packet]:
    def packets() -> Iterator[av.Packet]:
        last = -math.inf
        for path in segments:
            with containers.open_(path) as segment:
                for packet in segment.demux(video=0):
                    if packet.size:
                        time = round(packet.pts * packet.time_base / time_base)
                        # At a variable rate several may be rounded to one moment.
                        last = max(time, last + 1)
                        packet.pts = packet.dts = last
                        packet.time_base, packet.stream = time_base, stream
                        yield packet

    length = 1
    for packet, following in itertools.pairwise(itertools.chain(packets(), [None])):
        if following is not None:
            length = following.pts - packet.pts
        elif end > packet.pts:
            length = round(end - packet.pts)
        packet.duration = length
        yield packet


class _Copies:
    """What is copied from the source as it is.

    Args:
      out: container under way; it gets the streams, covers and attachments.
      original: the source.
      film: index of the stream that is not copied.
      container_format: FFmpeg's name of `out`'s.
      without: indices of further streams that are not copied.
    """

    def __init__(
        self,
        out: Any,
        original: Any,
        film: int,
        container_format: str,
        without: Collection[int],
    ) -> None:
        self._out, self._original = out, original
        self._tracks: dict[int, Any] = {}
        self._last: dict[int, int] = {}
        self._damaged: Counter[str] = Counter()
        for track in containers.companions(original, film):
            if track.index in without or not containers.holds(container_format, track):
                continue
            if track.type == "attachment":
                mime = track.mimetype or "application/octet-stream"
                out.add_attachment(track.name or "attachment", mime, track.data)
            elif containers.is_cover(track) and container_format == "matroska":
                self._attach(track)
            else:
                self._tracks[track.index] = containers.add_copy(out, track)

    def _attach(self, cover: Any) -> None:
        """Matroska's cover pictures are files."""
        with containers.open_(Path(self._original.name)) as again:
            packets = again.demux(again.streams[cover.index])
            data = next((bytes(p) for p in packets if p.size), None)
        if data is None:
            return
        ending = _PICTURES.get(cover.codec_context.name, "jpg")
        mime = f"image/{ending}".replace("jpg", "jpeg")
        name = cover.metadata.get("filename", f"cover.{ending}")
        self._out.add_attachment(name, cover.metadata.get("mimetype", mime), data)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the copied tracks, in time as the result wants them."""
        if not self._tracks:
            return
        tracks = [self._original.streams[index] for index in self._tracks]
        packets = self._original.demux(*tracks)
        ends: dict[int, int] = {}
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                return  # the source ends here; told when its frames were read
            if packet is None:
                return
            if packet.size and self._prepare(packet, ends):
                yield packet

    def _prepare(self, packet: av.Packet, ends: dict[int, int]) -> bool:
        """Whether a packet can be copied; it gets a stamp that rises."""
        track = packet.stream
        if packet.is_corrupt:
            self._damaged[containers.describe(track)] += 1
        if packet.dts is None:
            if packet.pts is None and not containers.is_cover(track):
                return False
            packet.dts = packet.pts = packet.pts or 0
        last = self._last.get(track.index)
        if last is not None and packet.dts <= last:
            # Where a broken stream starts again the sound goes on, as the frames do.
            if track.type == "audio":
                packet.pts = packet.dts = ends[track.index]
            elif packet.dts < last:
                packet.dts = last + 1
                packet.pts = max(packet.pts or 0, packet.dts)
        self._last[track.index] = packet.dts
        ends[track.index] = packet.dts + (packet.duration or 1)
        packet.stream = self._tracks[track.index]
        return True

    def mux(self, packet: av.Packet) -> None:
        """Writes a packet; of what is copied a bad one is left out and counted."""
        track = packet.stream
        try:
            self._out.mux(packet)
        except av.FFmpegError as error:
            if track not in self._tracks.values() or isinstance(error, OSError):
                raise
            self._damaged[containers.describe(track)] += 1

    def sentences(self) -> list[str]:
        """What is to be told of what was copied."""
        return [
            f"{count} packet{'s' * (count > 1)} of the {what} damaged"
            for what, count in self._damaged.items()
        ]
