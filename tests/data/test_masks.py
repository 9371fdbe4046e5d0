import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raindrop.data import masks


def pixels(*differences):
    """A row of pixels that differ from a gray by so many 255ths."""
    clean = np.full((1, len(differences), 3), 100, np.uint8)
    rainy = np.uint8(clean + np.array(differences)[None])
    return np.float32(rainy) / 255, np.float32(clean) / 255


def test_rules_at_their_thresholds():
    rainy, clean = pixels((30, 0, 0), (31, 0, 0), (0, -31, 0), (20, 20, 20), (40, 0, 0))
    expected = {
        "max": [0, 1, 1, 0, 1],
        "mean": [0, 0, 0, 0, 0],
        "sum": [0, 1, 1, 1, 1],
        "per_channel": [0, 1, 1, 0, 1],
    }
    for rule, row in expected.items():
        mask = masks.mask(rainy, clean, rule)
        assert mask.shape == (1, 5, 1)
        np.testing.assert_array_equal(mask[0, :, 0], row, rule)
    per_channel = masks.mask(
        rainy, clean, "per_channel", channel_thresholds=(35 / 255, 0.5, 19 / 255)
    )
    np.testing.assert_array_equal(per_channel[0, :, 0], [0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="max"):
        masks.mask(rainy, clean, "median")


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_windows_agree_with_opencv(seed):
    import cv2

    drops = np.random.default_rng(seed).integers(0, 2, (16, 20)).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    clean = np.zeros((16, 20, 3), np.float32)
    rainy = np.repeat(np.float32(drops)[..., None], 3, -1)
    for options, operation in (
        ({"close": True}, cv2.MORPH_CLOSE),
        ({"open": True}, cv2.MORPH_OPEN),
    ):
        ours = jax.jit(lambda r, c, o=options: masks.mask(r, c, **o))(rainy, clean)
        theirs = cv2.morphologyEx(drops, operation, kernel)
        np.testing.assert_array_equal(ours[..., 0], theirs)
