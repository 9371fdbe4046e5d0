"""Pixel values: their types and ranges, colour to gray. Arrays alone, no files."""

import numpy as np


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float [0, 1] or uint16 to uint8, clipped and rounded; uint8 stays as it is."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return from_float(image, np.uint8)


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float to float32 in [0, 1]."""
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.iinfo(image.dtype).max
    return image.astype(np.float32)


def from_float(image: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Float in [0, 1], clipped, to uint8 or uint16 (rounded) or a float type."""
    image = np.clip(image, 0, 1)
    if np.dtype(dtype) in (np.uint8, np.uint16):
        image = np.round(image * np.iinfo(dtype).max)
    return image.astype(dtype)


def gray_of(pixels: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3], uint8, uint16 or float, to luma (BT.601) [H, W] of its type."""
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return (luma if pixels.dtype.kind == "f" else np.round(luma)).astype(pixels.dtype)
