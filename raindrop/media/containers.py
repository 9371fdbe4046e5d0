"""Video containers: which stream is the film, and what each can hold beside it."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from av.stream import Discard, Disposition

from raindrop.errors import UserError, first_line
from raindrop.media import formats

# Extension -> codec of what is written where the source is transparent.
_TRANSPARENT = {".mov": "prores_ks", ".mkv": "ffv1", ".webm": "libvpx-vp9"}
# Tags that tell of the file rather than of the film.
_OF_THE_CONTAINER = {
    *("major_brand", "minor_version", "compatible_brands"),
    *("encoder", "software", "duration"),
}
_DEFAULT_COUNTS = 5_000_000  # pixels, in FFmpeg's choice of a stream
_MOST_PACKETS = 1000  # to find out which of several streams are single pictures


def open_(path: Path, mode: str = "r", **options: Any) -> Any:
    """PyAV's container; of a name such as 12:30.mp4 FFmpeg takes 12 for a protocol."""
    # Text that is not UTF-8 is kept as it is.
    options.setdefault("metadata_errors", "surrogateescape")
    return av.open(str(path.absolute()), mode, **options)


def holds_alpha(target: Path) -> bool:
    """Whether a video of that name can be transparent."""
    return target.suffix.lower() in _TRANSPARENT


def encoding(target: Path, alpha: bool) -> tuple[str, str]:
    """Container and codec of what is written, for frames with or without alpha."""
    extension = target.suffix.lower()
    container_format, codec = formats.WRITABLE_VIDEOS[extension]
    return container_format, _TRANSPARENT.get(extension, codec) if alpha else codec


def has_alpha_mode(stream: Any) -> bool:
    """Whether a stream says that its packets have a second picture, the alpha plane.

    So do VP8 and VP9 in Matroska. FFmpeg writes the mark twice, once as a tag.
    """
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    return tags.get("alpha_mode") == "1"


def reason(error: Exception) -> str:
    """What FFmpeg says of an error, without number, path and pages."""
    said = getattr(error, "strerror", None) or first_line(error)
    log = getattr(error, "log", None)
    return f"{said} ({log[2].strip()})" if log else said


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture that goes with the file."""
    return stream.type == "video" and bool(
        stream.disposition & Disposition.attached_pic
    )


def main_video(path: Path) -> int:
    """The index of the video stream that a player shows, by FFmpeg's rule.

    Pictures that are attached come last, then those that are no film though nothing
    says so; of films the default one, of these the largest.

    Raises:
      UserError: no such file, or no video in it.
    """
    try:
        with open_(path) as container:
            streams = list(container.streams.video)
            if not streams:
                raise UserError(f"{path} has no video that can be decoded")
            single = _single_pictures(container, streams)

            def rank(stream: Any) -> tuple[bool, bool, int]:
                default = bool(stream.disposition & Disposition.default)
                pixels = (stream.width or 0) * (stream.height or 0)
                score = pixels + _DEFAULT_COUNTS * default
                return not is_cover(stream), stream.index not in single, score

            return max(streams, key=rank).index
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be decoded: {reason(error)}") from None


def _single_pictures(container: Any, streams: list[Any]) -> set[int]:
    """Indices of the streams that have one packet, where others have more."""
    films = [stream for stream in streams if not is_cover(stream)]
    if len(films) < 2:
        return set()
    counts = dict.fromkeys((stream.index for stream in films), 0)
    try:
        for number, packet in enumerate(container.demux(*films)):
            counts[packet.stream.index] += bool(packet.size)
            if min(counts.values()) > 1 or number > _MOST_PACKETS:
                break
    except av.FFmpegError:  # told when the film is read
        pass
    return {index for index, count in counts.items() if count < 2}


def companions(container: Any, film: int) -> list[Any]:
    """The streams that go with the film: what is copied, where it can be held."""

    def goes(stream: Any) -> bool:
        if stream.index == film:
            return False
        # Titles and thumbnails of chapters, which are read as chapters.
        chapters = stream.discard == Discard.all or bool(
            stream.disposition & Disposition.timed_thumbnails
        )
        # QuickTime's track of one time code, which is a tag of the film as well.
        time_code = stream.type == "data" and "timecode" in stream.metadata
        return not (chapters or time_code)

    return [stream for stream in container.streams if goes(stream)]


def options(container_format: str, tags: Mapping[str, str]) -> dict[str, str]:
    """How FFmpeg is to write a container."""
    if container_format == "avi":
        # It has no time stamps, only a rate, and fills what is left free with empty
        # frames, at the start too.
        return {"avoid_negative_ts": "make_zero"}
    if container_format not in ("mp4", "mov"):
        return {}
    # Tags by their names are QuickTime's, which phones write to MP4 too; most players
    # look for MP4's own there.
    by_name = container_format == "mov" or any(
        tag.lower().startswith("com.") for tag in tags
    )
    return {"movflags": "+faststart" + "+use_metadata_tags" * by_name}


def lost_tags(container_format: str, tags: Mapping[str, str]) -> list[str]:
    """Names of the tags that a container of that kind does not keep."""
    tags = {k: v for k, v in tags.items() if k.lower() not in _OF_THE_CONTAINER}
    if not tags:
        return []
    codec = "libvpx-vp9" if container_format == "webm" else "mpeg4"
    file, how = io.BytesIO(), options(container_format, tags)
    # The index goes in front in a second pass, which takes a real file.
    flags = how.pop("movflags", "").replace("+faststart", "")
    if flags:
        how["movflags"] = flags
    with av.open(file, "w", format=container_format, options=how) as trial:
        stream = trial.add_stream(codec, rate=25)
        stream.width = stream.height = 16
        trial.metadata.update(tags)
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts = 0
        trial.mux([*stream.encode(frame), *stream.encode()])
    file.seek(0)
    with av.open(file) as written:
        kept = {key.lower() for key in written.metadata}
    return [name for name in tags if name.lower() not in kept]


def holds(container_format: str, track: Any) -> bool:
    """Whether a copy of a track can stand in a container."""
    if track.type == "attachment":
        return container_format == "matroska"
    if is_cover(track):
        return container_format in ("mp4", "matroska")
    # FFmpeg would put other tracks into AVI too, as no player expects them.
    if track.type not in ("audio", "video", "subtitle", "data") or (
        container_format == "avi" and track.type != "audio"
    ):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            copy = add_copy(trial, track)
            if copy is None:
                return False
            trial.start_encoding()
        return True
    except (av.FFmpegError, ValueError):
        return False


def add_copy(out: Any, track: Any) -> Any:
    """A stream of `out` for the packets of `track`, with what its header says."""
    options = {} if track.codec_context is None else {"opaque": True}
    copy = out.add_stream_from_template(track, **options)
    copy.metadata.update(track.metadata)
    copy.disposition = track.disposition
    return copy


def describe(track: Any) -> str:
    """A track in a few words."""
    if track.type == "attachment":
        return f"attachment ({track.name})"
    if is_cover(track):
        return "cover picture"
    if track.type == "data":
        handler = track.metadata.get("handler_name", "")
        return f"data ({track.name or 'unknown'}{handler and f', {handler}'})"
    name = track.codec_context.name if track.codec_context else "unknown"
    if track.type == "video":
        return f"other video ({name}, {track.width} x {track.height})"
    return f"{track.type} ({name})"
