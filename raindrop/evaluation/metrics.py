"""PSNR and SSIM, by named protocols: a number without its protocol says nothing.

All take pictures of the same size, uint8 or float RGB in [0, 1], and compute in
float64. Never resized, never averaged over a batch.

`release`: the authors' script. Both pictures cropped (top left kept) to a multiple of
  four; output truncated to uint8; Y of OpenCV's full-range YCrCb, itself rounded to
  uint8; SSIM with a uniform 7x7 window. The authors' script truncates without
  clipping, which wraps around; here values are clipped first.
`bt601`: BasicSR's. Output rounded to uint8; studio-range Y of BT.601, not rounded;
  SSIM with an 11x11 Gaussian window of sigma 1.5. Reads about 1.3 dB higher.
`rgb`: output rounded to uint8; all channels; SSIM with a uniform 7x7 window.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from raindrop.errors import UserError

PROTOCOLS = ("release", "bt601", "rgb")
SMALLEST_SIDE = 11  # the largest window


def score(
    image: np.ndarray, clean: np.ndarray, protocol: str = "release"
) -> dict[str, float]:
    """Compares a picture with its clean twin.

    Args:
      image: [H, W, 3] RGB, uint8, or float nominally in [0, 1].
      clean: likewise.
      protocol: one of `PROTOCOLS`.

    Returns:
      {'psnr': dB (infinite for equal pictures), 'ssim': at most 1}.

    Raises:
      ValueError: sizes that differ, or are below 12 pixels; an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {PROTOCOLS}, not {protocol!r}")
    if image.shape != clean.shape:
        raise ValueError(f"sizes differ: {image.shape} and {clean.shape}")
    if min(image.shape[:2]) <= SMALLEST_SIDE:
        raise ValueError(
            f"SSIM needs pictures of at least {SMALLEST_SIDE + 1} pixels a side, "
            f"not {image.shape[1]} x {image.shape[0]}"
        )
    prepare, ssim_options = _PROTOCOLS[protocol]
    x, y = prepare(image), prepare(clean)
    with np.errstate(divide="ignore"):
        psnr = peak_signal_noise_ratio(y, x, data_range=255)
    ssim = structural_similarity(x, y, data_range=255, **ssim_options)
    return {"psnr": float(psnr), "ssim": float(ssim)}


def make_lpips() -> Callable[[np.ndarray, np.ndarray], float]:
    """LPIPS (Zhang et al., CVPR 2018) with AlexNet, by its authors' package.

    Returns:
      A function of two pictures, as `score` takes them; less is nearer. Both are
      rounded to uint8.

    Raises:
      UserError: the package, or the weights that it fetches, are not there.
    """
    try:
        import lpips
        import torch
    except ImportError:
        raise UserError(
            "eval.lpips needs the package lpips: pip install lpips, or leave it off"
        ) from None
    try:
        network = lpips.LPIPS(net="alex", verbose=False)
    except OSError as error:
        raise UserError(
            f"the weights of LPIPS could not be fetched ({error}); leave eval.lpips off"
        ) from None

    def tensor(image: np.ndarray) -> Any:
        signed = np.float32(_rgb(image) / 127.5 - 1)
        return torch.from_numpy(signed.transpose(2, 0, 1)[None])

    def distance(image: np.ndarray, clean: np.ndarray) -> float:
        with torch.no_grad():
            return float(network(tensor(image), tensor(clean)))

    return distance


def _release(image: np.ndarray) -> np.ndarray:
    height, width = (side - side % 4 for side in image.shape[:2])
    image = np.ascontiguousarray(image[:height, :width])
    if image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 0].astype(np.float64)


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255)
    return image.astype(np.float64)


def _bt601(image: np.ndarray) -> np.ndarray:
    return _rgb(image) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


_PROTOCOLS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "release": (_release, {}),
    "bt601": (
        _bt601,
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
    "rgb": (_rgb, {"channel_axis": -1}),
}
