"""The protocols against computations of their own, written out with other code."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import correlate
from skimage import metrics as skimage_metrics

from raindrop.evaluation import metrics


def pair(height=37, width=50):
    rng = np.random.default_rng(0)
    clean = cv2.GaussianBlur(rng.uniform(size=(height, width, 3)), (0, 0), 2)
    clean = (clean - clean.min()) / np.ptp(clean)
    output = clean + rng.normal(0, 0.08, clean.shape)  # leaves [0, 1] in places
    return output.astype(np.float32), np.uint8(clean * 255)


def test_release_is_skimage_on_opencvs_y():
    output, clean = pair()
    # Cropped to a multiple of four; truncated after clipping; OpenCV's BGR order.
    x = np.uint8(np.clip(output, 0, 1) * 255)[:36, :48, ::-1]
    y = clean[:36, :48, ::-1]
    x, y = (cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_BGR2YCrCb) for i in (x, y))
    x, y = x[:, :, 0], y[:, :, 0]
    found = metrics.score(output, clean, "release")
    psnr = skimage_metrics.peak_signal_noise_ratio(y, x)
    assert found["psnr"] == pytest.approx(psnr, abs=1e-6)
    mse = np.mean((x.astype(float) - y) ** 2)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-6)
    ssim = skimage_metrics.structural_similarity(y, x)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-6)


def ssim_of_basicsr(x, y):
    """Wang et al.'s: 11 x 11 Gaussian, sigma 1.5, where the window fits."""
    window = cv2.getGaussianKernel(11, 1.5)
    window = window @ window.T

    def mean(image):
        return correlate(image, window)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    top = (2 * mx * my + c1) * (2 * vxy + c2)
    return np.mean(top / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def test_bt601_is_basicsrs():
    output, clean = pair()
    image = np.clip(output, 0, 1) * 255
    image = image.round() / 255
    r, g, b = np.moveaxis(image.astype(float), -1, 0)
    x = 65.481 * r + 128.553 * g + 24.966 * b + 16
    r, g, b = np.moveaxis(clean / 255, -1, 0)
    y = 65.481 * r + 128.553 * g + 24.966 * b + 16
    found = metrics.score(output, clean, "bt601")
    psnr = 20 * np.log10(255 / np.sqrt(np.mean((x - y) ** 2)))
    assert found["psnr"] == pytest.approx(psnr, abs=1e-5)
    assert found["ssim"] == pytest.approx(ssim_of_basicsr(x, y), abs=1e-5)


def test_rgb_is_over_all_channels():
    output, clean = pair()
    x = np.round(np.clip(output, 0, 1) * 255)
    mse = np.mean((x.astype(float) - clean) ** 2)
    found = metrics.score(output, clean, "rgb")["psnr"]
    assert found == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-6)


@pytest.mark.parametrize("protocol", ["release", "bt601", "rgb"])
def test_equal_pictures(protocol):
    _, clean = pair()
    assert metrics.score(clean, clean, protocol) == {
        "psnr": np.inf,
        "ssim": pytest.approx(1),
    }


def test_the_challenges_score_is_the_one_that_was_published():
    # A participant's numbers of 2026, and the score that stands beside them.
    found = metrics.challenge_score(psnr=27.57, ssim=0.8210, lpips=0.2521)
    assert found == pytest.approx(34.5194, abs=2e-4)
    output, clean = pair()
    parts = metrics.score(output, clean, "bt601")
    found = metrics.score(output, clean, "ntire", lpips=0.2)
    score = parts["psnr"] + 10 * parts["ssim"] - 1
    assert found == parts | {"lpips": 0.2, "score": pytest.approx(score)}


def test_what_cannot_be_scored():
    output, clean = pair()
    with pytest.raises(ValueError, match="sizes differ"):
        metrics.score(output[:-1], clean)
    with pytest.raises(ValueError, match="at least 12"):
        metrics.score(output[:11], clean[:11])
    with pytest.raises(ValueError, match="needs LPIPS"):
        metrics.score(output, clean, "ntire")
    with pytest.raises(ValueError, match="protocol"):
        metrics.score(output, clean, "y")
