"""Pictures in and out: decode, encode, pad. Arrays are [H, W, 3] RGB throughout."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from raindrop.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def find_images(folder: str | os.PathLike) -> list[Path]:
    """All pictures below `folder`, sorted.

    Raises:
      UserError: no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one with photographs in it")
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".")
    )
    if not paths:
        raise UserError(
            f"{folder} holds no pictures ({', '.join(EXTENSIONS)}); "
            "give a folder with photographs in it"
        )
    return paths


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decodes a picture to uint8 RGB [H, W, 3], turned as its EXIF data says.

    Raises:
      UserError: no such file, no picture, or a damaged one.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is no picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be decoded: {error}") from None


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) after EXIF rotation, from the header alone.

    Raises:
      UserError: no such file, or no picture.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5
            return (width, height) if turned else (height, width)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is no picture that can be read: {error}") from None


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float [0, 1] to uint8, clipped and rounded; uint8 stays as it is."""
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Encodes `image` (see `to_uint8`) by the extension of `path`.

    Written aside and renamed: `path` is whole at every moment.

    Raises:
      UserError: an extension that cannot be written, or a folder that cannot.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_uint8(image)).save(aside, quality=95)
        aside.replace(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {error}") from None
    finally:
        aside.unlink(missing_ok=True)


def pad_to_multiple(image: np.ndarray, multiple: int = 4) -> np.ndarray:
    """Pads bottom and right by reflection, [..., H, W, C], to a multiple of `multiple`.

    A side of one pixel has nothing to reflect and is repeated. Sides that fit are left
    as they are. Crop back with `padded[..., :H, :W, :]`.
    """
    pads = [(0, 0)] * image.ndim
    for axis in (-3, -2):
        pads[axis] = (0, -image.shape[axis] % multiple)
    # 'symmetric' would do for one pixel too, but repeats the border row of all others.
    mode = "reflect" if min(image.shape[-3:-1]) > 1 else "symmetric"
    return np.pad(image, pads, mode=mode) if any(p[1] for p in pads) else image


def side_by_side(images: Iterable[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures of one height in a row, [H, W, 3], uint8, on white."""
    columns = []
    for image in images:
        image = to_uint8(image)
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        columns += [image, np.full((image.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)
