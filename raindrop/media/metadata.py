"""What goes with a picture's pixels from one file into the next, and what cannot."""

import re
import struct
from typing import Any

from PIL import Image, PngImagePlugin

from raindrop.media import png, tiff

# EXIF tags of the first directory that describe the photograph; the others there
# describe how this one file stores it (strips, compression, ...).
_DESCRIPTION = {0x10E, 0x10F, 0x110, 0x131, 0x132, 0x13B, 0x8298, 0x4746, 0x4749}
_DESCRIPTION |= tiff.WINDOWS_TAGS
_INTEROPERABILITY = 0xA005  # a place within the old file
_WIDTH, _HEIGHT = 0xA002, 0xA003
_XMP_TEXT = "XML:com.adobe.xmp"
_IPTC_RESOURCE = 0x404
_LONGEST_SEGMENT = 65000  # of a JPEG, in bytes
# XMP that says which further pictures the file holds, and how it is turned.
_OF_MORE_PICTURES = (b"hdrgm:", b"GContainer", b"Container:Directory")
_XMP_ORIENTATION = (
    rb'tiff:Orientation="[0-9]"',
    rb"<tiff:Orientation>[0-9]</tiff:Orientation>",
)
# What each format holds beside pixels; all but BMP hold ICC profile and EXIF.
_HOLDS = {
    "JPEG": {"icc_profile", "exif", "xmp", "iptc", "comment", "dpi"},
    "PNG": {"icc_profile", "exif", "xmp", "comment", "text", "dpi", "colour"},
    "WEBP": {"icc_profile", "exif", "xmp"},
    "BMP": {"dpi"},
    "TIFF": {"icc_profile", "exif", "xmp", "iptc", "dpi"},
    "AVIF": {"icc_profile", "exif", "xmp"},
    "HEIF": {"icc_profile", "exif", "xmp"},
}
_NAMES = {
    "icc_profile": "the ICC profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "comment": "the comment",
    "text": "PNG text",
}


def of_pillow(image: Image.Image, data: bytes) -> dict[str, Any]:
    """The metadata of an open picture as fields of a `Picture`.

    EXIF is all of it, or None where it is damaged.
    """
    try:
        exif = image.getexif()
    except Exception:  # whatever a reader of damaged data meets
        exif = None
    text = {}
    if image.format == "PNG":
        text = {k: v for k, v in image.text.items() if k != _XMP_TEXT}
        # EXIF once more, by ImageMagick; the chunk of today is what goes on.
        text = {k: v for k, v in text.items() if not k.startswith("Raw profile type")}
    info = image.info
    comment = info.get("comment")
    xmp = info.get("xmp")
    iptc = info.get("photoshop")
    iptc = iptc.get(_IPTC_RESOURCE) if isinstance(iptc, dict) else None
    colour = {}
    if image.format == "PNG":
        colour = {k: c for k, c in png.chunks(data) if k in png.COLOUR}
    return {
        "icc_profile": info.get("icc_profile"),
        "exif": exif,
        "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
        "iptc": iptc if isinstance(iptc, bytes) else None,
        "comment": comment.encode() if isinstance(comment, str) else comment,
        "text": text,
        "dpi": info.get("dpi"),
        "colour": colour,
    }


def cleaned(
    fields: dict[str, Any], size: tuple[int, int]
) -> tuple[dict[str, Any], list[str]]:
    """The same without what is true of the old file only, or damaged.

    Args:
      fields: as `of_pillow` gives them.
      size: (height, width) of the pixels, upright.

    Returns:
      The fields, and what is to be said of them.
    """
    notes = []
    try:
        fields["exif"] = _exif(fields["exif"], size)
    except Exception:
        notes.append("its EXIF data are damaged and are not kept")
        fields["exif"] = Image.Exif()
    xmp = fields.get("xmp")
    if xmp and any(words in xmp for words in _OF_MORE_PICTURES):
        notes.append("XMP that tells of further pictures in the file is not kept")
        xmp = None
    for pattern in _XMP_ORIENTATION if xmp else ():
        xmp = re.sub(pattern, b"", xmp)
    fields["xmp"] = xmp
    dpi = fields["dpi"]
    # Headers may claim anything.
    if not (dpi and all(0 < float(d) < 1e5 for d in dpi)):
        fields["dpi"] = None
    return fields, notes


def _exif(source: Image.Exif, size: tuple[int, int]) -> Image.Exif:
    exif = Image.Exif()
    for tag in _DESCRIPTION & set(source):
        exif[tag] = _as_stored(source[tag])
    for tag in tiff.DIRECTORIES:
        if entries := source.get_ifd(tag):
            entries = {k: v for k, v in entries.items() if k != _INTEROPERABILITY}
            if (entries.get(_WIDTH), entries.get(_HEIGHT)) == size:  # before the turn
                entries[_HEIGHT], entries[_WIDTH] = size
            exif.get_ifd(tag).update({k: _as_stored(v) for k, v in entries.items()})
    exif.tobytes()
    return exif


def _as_stored(value: Any) -> Any:
    """Text beyond ASCII as the file's own bytes, which Pillow would write as '?'."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1")
    return value


def has_exif(exif: Image.Exif) -> bool:
    """Whether there is anything in it."""
    return bool(len(exif)) or any(exif.get_ifd(tag) for tag in tiff.DIRECTORIES)


def fitting(fields: dict[str, Any], file_format: str) -> tuple[dict, list[str]]:
    """The fields that the format holds, the others empty; and what is lost."""
    notes = []
    kept = dict(fields)
    for name, what in _NAMES.items():
        value = fields[name]
        present = has_exif(value) if name == "exif" else bool(value)
        if not present:
            continue
        reason = ""
        if name not in _HOLDS[file_format]:
            reason = f"{file_format} has no room for it"
        elif file_format == "JPEG" and name != "icc_profile":
            size = len(value.tobytes() if name == "exif" else value)
            reason = f"{size} bytes of it are too many" * (size > _LONGEST_SEGMENT)
        if reason:
            kept[name] = Image.Exif() if name == "exif" else None
            notes.append(f"{what} is lost: {reason}")
    return kept, notes


def pillow_options(fields: dict[str, Any], file_format: str) -> dict[str, Any]:
    """What Pillow's `save` takes of them, for all formats but PNG and TIFF."""
    options = {"icc_profile": fields["icc_profile"]}
    if has_exif(fields["exif"]):
        options["exif"] = fields["exif"].tobytes()
    for name in ("xmp", "comment"):
        if fields[name]:
            options[name] = fields[name]
    if fields["dpi"] and "dpi" in _HOLDS[file_format]:
        options["dpi"] = fields["dpi"]
    if fields["iptc"]:
        options["extra"] = _photoshop_segment(fields["iptc"])
    return options


def png_options(fields: dict[str, Any]) -> tuple[PngImagePlugin.PngInfo, dict]:
    """Text, and what else `png.write` takes."""
    info = PngImagePlugin.PngInfo()
    for key, value in (fields["text"] or {}).items():
        info.add_text(key, value)
    comment = fields["comment"]
    if comment and "Comment" not in (fields["text"] or {}):
        info.add_text("Comment", comment.decode("utf-8", "replace"))
    if fields["xmp"]:
        info.add_itxt(_XMP_TEXT, fields["xmp"].decode("utf-8", "replace"))
    options = {"icc_profile": fields["icc_profile"]}
    if has_exif(fields["exif"]):
        options["exif"] = fields["exif"].tobytes()
    if fields["dpi"]:
        options["dpi"] = fields["dpi"]
    return info, options


def _photoshop_segment(iptc: bytes) -> bytes:
    """A JPEG's APP13 segment that holds an IPTC record."""
    resource = struct.pack(">4sHHI", b"8BIM", _IPTC_RESOURCE, 0, len(iptc)) + iptc
    body = b"Photoshop 3.0\0" + resource + b"\0" * (len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
