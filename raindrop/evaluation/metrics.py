"""PSNR, SSIM, LPIPS by named protocols: a number without its protocol says nothing.

All take pictures of the same size, uint8 or float RGB in [0, 1], and compute in
float64. Never resized, never averaged over a batch.

`release`: the authors' script. Both pictures cropped (top left kept) to a multiple of
  four; output truncated to uint8; Y of OpenCV's full-range YCrCb, itself rounded to
  uint8; SSIM with a uniform 7x7 window. The authors' script truncates without
  clipping, which wraps around; here values are clipped first.
`bt601`: BasicSR's. Output rounded to uint8; studio-range Y of BT.601, not rounded;
  SSIM with an 11x11 Gaussian window of sigma 1.5. Reads about 1.3 dB higher.
`rgb`: output rounded to uint8; all channels; SSIM with a uniform 7x7 window.
`ntire`: the score of the NTIRE challenges on Day and Night Raindrop Removal for
  Dual-Focused Images (reports: arXiv:2504.12711 of 2025, arXiv:2604.10634 of 2026),
  with its parts: see `challenge_score`. PSNR and SSIM as in `bt601`, LPIPS (see
  `LPIPS`) with AlexNet, on RGB rounded to uint8. Which Y, window and network the
  organizers' own script takes was not found: compare with their numbers with care.
"""

from collections.abc import Callable
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from raindrop.errors import UserError
from raindrop.models.lpips import distance as lpips_distance
from raindrop.weights import lpips as lpips_weights

# What each protocol measures, in the order of tables.
MEASURES = {
    "release": ("psnr", "ssim"),
    "bt601": ("psnr", "ssim"),
    "rgb": ("psnr", "ssim"),
    "ntire": ("psnr", "ssim", "lpips", "score"),
}
PROTOCOLS = tuple(MEASURES)
NAMES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "score": "score"}
SMALLEST_SIDE = 11  # the largest window
LPIPS_NETWORKS = ("alex", "vgg")
_SMALLEST_LPIPS = 31  # for AlexNet's two poolings


def score(
    image: np.ndarray,
    clean: np.ndarray,
    protocol: str = "release",
    lpips: float | None = None,
) -> dict[str, float]:
    """Compares a picture with its ground truth.

    Args:
      image: [H, W, 3] RGB, uint8, or float nominally in [0, 1].
      clean: likewise.
      protocol: one of `PROTOCOLS`.
      lpips: distance of the two by `LPIPS`; `ntire` needs it.

    Returns:
      {'psnr': dB (infinite for equal pictures), 'ssim': at most 1}; by `ntire` 'lpips'
      and 'score' too.

    Raises:
      ValueError: sizes that differ, or are too small; an unknown protocol, or one
        without the LPIPS that it needs.
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
    scores = {"psnr": float(psnr), "ssim": float(ssim)}
    if protocol == "ntire":
        if lpips is None:
            raise ValueError("the protocol ntire needs LPIPS")
        scores["lpips"] = lpips
        scores["score"] = challenge_score(**scores)
    return scores


def challenge_score(psnr: float, ssim: float, lpips: float) -> float:
    """PSNR(Y) + 10 SSIM(Y) - 5 LPIPS, by which the NTIRE raindrop challenges rank.

    Both reports are quoted with 10 PSNR(Y) for the first term, which cannot be meant:
    the winner of 2026 has 35.24, and a participant's published 27.57 dB, 0.8210 and
    0.2521 stand beside a score of 34.5194, which is PSNR taken once.
    """
    return psnr + 10 * ssim - 5 * lpips


class LPIPS:
    """LPIPS (Zhang et al., CVPR 2018), version 0.1, in JAX.

    Called with two pictures, as `score` takes them, it gives their distance: less is
    nearer, 0 is equal. Both are rounded to uint8. Within 1e-4 of the authors' package.

    Args:
      network: 'alex', which the authors advise for comparing, or 'vgg'.

    Attributes:
      network: as given.
      weights: {'source', 'sha256'} of their file.

    Raises:
      UserError: the weights are not installed.
      ValueError: an unknown network, or (when called) pictures that are too small.
    """

    def __init__(self, network: str = "alex") -> None:
        if network not in LPIPS_NETWORKS:
            raise ValueError(f"network must be one of {LPIPS_NETWORKS}, not {network}")
        try:
            features, params, heads, self.weights = lpips_weights.load_lpips(network)
        except UserError as error:
            raise UserError(f"LPIPS cannot be measured: {error}") from None
        self.network = network

        def distance(x: jax.Array, y: jax.Array) -> jax.Array:
            # A GPU's faster products are some 1e-3 off.
            with jax.default_matmul_precision("highest"):
                both: Any = features.apply({"params": params}, jnp.stack([x, y]) / 255)
            of_x, of_y = ({k: v[i : i + 1] for k, v in both.items()} for i in (0, 1))
            return lpips_distance(of_x, of_y, heads)[0]

        self._distance = jax.jit(distance)

    def __call__(self, image: np.ndarray, clean: np.ndarray) -> float:
        """The distance of two pictures, [H, W, 3] RGB of the same size."""
        if min(image.shape[:2]) < _SMALLEST_LPIPS:
            raise ValueError(
                f"LPIPS needs pictures of at least {_SMALLEST_LPIPS} pixels a side, "
                f"not {image.shape[1]} x {image.shape[0]}"
            )
        return float(self._distance(*(np.float32(_rgb(i)) for i in (image, clean))))


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
_PROTOCOLS["ntire"] = _PROTOCOLS["bt601"]
