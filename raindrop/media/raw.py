"""What a camera's sensor saw, developed by LibRaw (rawpy, if it is installed).

With the camera's white balance, in sRGB, 16 bits, without brightening: as neutral as
LibRaw makes it, and not the look that the camera gives its JPEGs.
"""

import os

import numpy as np

_SRGB = (2.4, 12.92)  # exponent, and slope of the straight part near black


def read(path: str | os.PathLike) -> np.ndarray:
    """The developed picture, upright: RGB uint16 [H, W, 3].

    Raises:
      ValueError: damaged, or of a camera that LibRaw does not know.
    """
    import rawpy

    try:
        with rawpy.imread(os.fspath(path)) as raw:
            return raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                gamma=_SRGB,
            )
    except rawpy.LibRawError as error:
        raise ValueError(f"LibRaw says {error.args[0]!r}") from None


def size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of what `read` gives.

    Raises:
      ValueError: as of `read`.
    """
    import rawpy

    try:
        with rawpy.imread(os.fspath(path)) as raw:
            sizes = raw.sizes
            turned = sizes.flip in (5, 6)
            shape = (sizes.iheight, sizes.iwidth)
            return shape[::-1] if turned else shape
    except rawpy.LibRawError as error:
        raise ValueError(f"LibRaw says {error.args[0]!r}") from None
