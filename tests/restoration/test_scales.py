import numpy as np
import pytest

from raindrop.media.pixel_values import from_float, to_float
from raindrop.restoration import scales


def noise(height, width, dtype=np.float32):
    values = np.random.default_rng(0).uniform(0.2, 0.8, (height, width, 3))
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_smaller_copy_that_stays_leaves_the_picture_as_it_is(dtype):
    picture = noise(37, 50, dtype)
    small = scales.half(picture)
    assert small.shape == (19, 25, 3) and small.dtype == dtype
    changed = picture.copy()
    scales.bring_back(changed, small, small.copy())
    np.testing.assert_array_equal(changed, picture)
    # Changed in one corner, it is the same in the other.
    after = small.copy()
    after[:4, :4] = 0
    scales.bring_back(changed, small, after)
    np.testing.assert_array_equal(changed[20:, 20:], picture[20:, 20:])
    assert not changed[:2, :2].any()


def test_a_veil_leaves_the_detail_and_a_drop_takes_it():
    picture = noise(40, 60)
    small = scales.half(picture)
    veil = picture.copy()
    scales.bring_back(veil, small, small + np.float32(0.05))
    np.testing.assert_allclose(veil, picture + 0.05, atol=1e-6)
    drop = picture.copy()
    scales.bring_back(drop, small, np.full_like(small, 1.0))
    np.testing.assert_allclose(drop, 1, atol=1e-6)


def test_bands_of_rows_do_not_show(monkeypatch):
    picture = noise(83, 61)
    small = scales.half(picture)
    after = np.clip(small + np.linspace(-0.3, 0.3, len(small))[:, None, None], 0, 1)
    after = after.astype(np.float32)
    results = []
    for rows in (512, 8):
        monkeypatch.setattr(scales, "_ROWS", rows)
        np.testing.assert_array_equal(scales.half(picture), small)
        changed = picture.copy()
        scales.bring_back(changed, small, after)
        results.append(changed)
    np.testing.assert_allclose(*results, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blending_takes_a_share(dtype, monkeypatch):
    monkeypatch.setattr(scales, "_ROWS", 8)
    before, after = noise(19, 12, dtype), 1 - noise(19, 12)
    share = np.zeros((19, 12, 1), np.float32)
    share[9:, :6], share[9:, 6:] = 0.25, 1
    mixed = scales.blend(before, after, share)
    assert mixed.dtype == dtype
    np.testing.assert_array_equal(mixed[:9], before[:9])
    np.testing.assert_allclose(to_float(mixed[9:, 6:]), after[9:, 6:], atol=2e-3)
    quarter = 0.75 * to_float(before) + 0.25 * after
    np.testing.assert_allclose(to_float(mixed[9:, :6]), quarter[9:, :6], atol=2e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_large_changes_are_told_from_small_ones(dtype):
    def shown(*darker):
        scene = np.full((80, 120, 3), 0.5)
        for rows, columns, by in darker:
            scene[rows, columns] -= by
        return from_float(np.float32(scene), np.dtype(dtype))

    drop, bead, haze = (np.s_[10:40, 10:40], np.s_[60:68, 10:18], np.s_[10:40, 80:110])
    wet = shown((*drop, 0.4), (*bead, 0.4), (*haze, 0.03))
    where = scales.changed(wet, shown())
    assert where[drop].all() and where[bead].all() and not where[haze].any()
    wider = scales.changed(wet, shown(), around=4)
    assert wider[6:44, 6:44].all() and not wider[haze].any()
    share = scales.large_regions(where)
    assert share.shape == (80, 120, 1) and (share[drop] > 0.5).all()
    assert (share[15:35, 15:35] == 1).all()
    assert not share[bead].any() and not share[haze].any()
