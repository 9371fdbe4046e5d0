"""Cuts and changes picture files in every way, and looks at what comes of them.

    python benchmarks/fuzz_pictures.py --cases=40 --seed=0

Of each kind of picture `cases` files are made, half of them cut off and half with bytes
changed. Each is decoded, and encoded again, in a process that is watched. What may come
of a file: one line that names it; the same pixels as before; or other pixels with a
note. A changed byte may also give other pixels without a note where the format has no
checksum over them; a cut may not. Anything else (another error, no end, the end of the
process) fails the run.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import logging
import multiprocessing
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

sys.path.insert(0, str(Path(__file__).parents[1]))

from raindrop.errors import UserError
from raindrop.media import formats, pictures

SECONDS = 120  # for one file of a few hundred pixels, however busy the machine is
_CHECKED = ("png", "png 16", "png palette", "apng")  # with a checksum over all of it
_AGAIN = (".jpg", ".png", ".tif", ".webp")
GOOD = ("refused", "same", "said", "changed")


@dataclasses.dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
      kind: of picture.
      damage: "cut" or "change".
      data: the file.
    """

    kind: str
    damage: str
    data: bytes


def _photograph() -> np.ndarray:
    """A ramp with some noise, uint8 [24, 33, 3]."""
    rows, columns = np.mgrid[:24, :33]
    noise = np.random.default_rng(0).integers(0, 16, (24, 33, 3))
    ramp = np.stack([rows * 9, columns * 7, 230 - rows * 9], axis=-1)
    return (ramp + noise).clip(0, 255).astype(np.uint8)


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x10F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    if file_format not in ("GIF", "BMP"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        options |= {"exif": exif.tobytes(), "icc_profile": profile.tobytes()}
    return _plain(image, file_format, **options)


def _plain(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def kinds() -> dict[str, bytes]:
    """A whole file of each kind of picture."""
    formats.enable_plugins()
    array = _photograph()
    image = Image.fromarray(array)
    deep = array.astype(np.uint16) * 257
    turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    frames = {"save_all": True, "append_images": [turned]}
    rgb = {"photometric": "rgb"}
    found = {
        "jpeg": _saved(image, "JPEG", quality=90, comment=b"rain", xmp=b"<x/>"),
        "jpeg progressive": _saved(image, "JPEG", progressive=True),
        "jpeg cmyk": _saved(image.convert("CMYK"), "JPEG"),
        "png": _saved(image, "PNG"),
        "png 16": imagecodecs.png_encode(np.dstack([deep, deep[..., 0]])),
        "png palette": _saved(image.convert("P"), "PNG", transparency=3),
        "apng": _saved(image, "PNG", **frames),
        "webp": _saved(image, "WEBP", xmp=b"<x/>"),
        "webp lossless": _saved(image.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": _saved(image, "WEBP", **frames),
        "gif": _saved(image, "GIF", **frames),
        "bmp": _saved(image, "BMP"),
        "avif": _saved(image, "AVIF"),
        "tiff": _saved(image, "TIFF"),
        "tiff lzw": _tiff(array, **rgb, compression="lzw", predictor=True),
        "tiff deflate": _tiff(deep, **rgb, compression="deflate", rowsperstrip=5),
        "tiff planar": _tiff(np.moveaxis(deep, -1, 0), **rgb, planarconfig="separate"),
        "tiff packbits": _tiff(array[..., 0], compression="packbits"),
        "tiff jpeg": _tiff(array, **rgb, compression="jpeg", tile=(16, 16)),
        "tiff zstd": _tiff(deep, **rgb, compression="zstd", bigtiff=True),
        "tiff float": _tiff((array / 255).astype(np.float32), **rgb, byteorder=">"),
        "tiff cmyk": _saved(image.convert("CMYK"), "TIFF"),
        "tiff pages": _saved(image, "TIFF", **frames),
        "tiff libtiff": _plain(image.convert("YCbCr"), "TIFF", compression="tiff_lzw"),
    }
    if formats.is_readable("HEIF"):
        found["heic"] = _saved(image, "HEIF")
    if formats.is_readable("JXL"):
        found["jxl"] = _saved(image, "JXL")
    return found


def damaged(kind: str, whole: bytes, cases: int, seed: int) -> Iterator[Case]:
    """Files cut off and files with changed bytes, the same for the same seed."""
    draw = random.Random(f"{kind} {seed}")
    for i in range(cases):
        data = bytearray(whole)
        if i % 2 == 0:
            # Half of the cuts near the end, where little is missing.
            far = draw.random() < 0.5
            keep = draw.randrange(1, len(data)) if far else -draw.randrange(1, 64)
            yield Case(kind, "cut", bytes(data[:keep]) or b"\0")
            continue
        # Headers are short, and most can be done wrong there.
        end = len(data) if draw.random() < 0.5 else min(200, len(data))
        for _ in range(draw.choice([1, 1, 2, 8])):
            data[draw.randrange(end)] = draw.randrange(256)
        yield Case(kind, "change", bytes(data))


def outcome(case: Case, whole: pictures.Picture, path: Path) -> str:
    """One of `GOOD`, or what is wrong with what came of a file."""
    path.write_bytes(case.data)
    try:
        after = pictures.decode(path)
    except UserError as error:
        line = str(error)
        return "refused" if path.name in line and "\n" not in line else f"says {line!r}"
    if pictures.image_size(path) != after.pixels.shape[:2]:
        return "image_size differs"
    same = np.array_equal(after.pixels, whole.pixels)
    said = set(after.notes) - set(whole.notes)
    result = "same" if same else "said" if said else "changed"
    if result == "changed" and (case.damage == "cut" or case.kind in _CHECKED):
        return "silently wrong"
    for ending in _AGAIN:
        # A size that came of a changed byte may be more than a format takes.
        with contextlib.suppress(UserError):
            pictures.encode(path.with_name(f"again{ending}"), after)
    return result


def _work(
    connection: Connection, folder: str, references: dict[str, pictures.Picture]
) -> None:
    """Takes cases, gives outcomes; what is raised is an outcome too."""
    logging.disable(logging.CRITICAL)
    while (case := connection.recv()) is not None:
        try:
            result = outcome(case, references[case.kind], Path(folder, "damaged"))
        except BaseException as error:
            result = f"raised {error!r}"
        connection.send(result)


def run(
    cases: int, seed: int, tell: Callable[[str], None] = print
) -> dict[str, collections.Counter]:
    """Outcomes by kind; what is not in `GOOD` is wrong, and kept for a look."""
    found: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        references = {}
        for kind, whole in kinds().items():
            Path(folder, "whole").write_bytes(whole)
            references[kind] = pictures.decode(Path(folder, "whole"))
        process = None
        for kind, whole in kinds().items():
            for case in damaged(kind, whole, cases, seed):
                if process is None:
                    ours, theirs = context.Pipe()
                    process = context.Process(
                        target=_work, args=(theirs, folder, references), daemon=True
                    )
                    process.start()
                    theirs.close()
                ours.send(case)
                try:
                    result = ours.recv() if ours.poll(SECONDS) else "no end"
                except EOFError:
                    result = "crashed"
                if result in ("no end", "crashed"):
                    process.kill()
                    process.join()
                    process = None
                found[kind][result] += 1
                if result not in GOOD:
                    count = sum(found[kind].values())
                    kept = Path(tempfile.gettempdir(), f"fuzz-{seed}-{kind}-{count}")
                    kept.write_bytes(case.data)
                    tell(f"{kind}, {case.damage}: {result}; see {kept}")
        if process is not None:
            ours.send(None)
            process.join()
    return found


def main() -> int:
    """Prints a table; 1 where something came that may not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = run(options.cases, options.seed)
    print(f"{'kind':18}" + "".join(f"{name:>9}" for name in (*GOOD, "wrong")))
    wrong = 0
    for kind, counts in found.items():
        bad = sum(counts.values()) - sum(counts[name] for name in GOOD)
        wrong += bad
        row = [counts[name] for name in GOOD]
        print(f"{kind:18}" + "".join(f"{n:9}" for n in (*row, bad)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
