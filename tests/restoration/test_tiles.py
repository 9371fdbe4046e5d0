import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raindrop.restoration import tiles

SIDES = st.integers(1, 400).map(lambda n: 4 * n)


@given(SIDES, st.sampled_from([64, 100, 128]), st.sampled_from([16, 24]))
def test_tiles_cover_a_side_with_weights_that_sum_to_one(length, tile, overlap):
    starts = tiles.positions(length, tile, overlap)
    side = min(length, tile)
    assert starts[0] == 0
    assert starts[-1] + side == length
    assert all(start % 4 == 0 for start in starts)
    assert all(a + side - b >= overlap for a, b in itertools.pairwise(starts))
    total = np.zeros(length)
    weights = tiles.weights(starts, side, overlap)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + side] += weight
        # Nothing counts that is near to a cut.
        if start > 0:
            assert weight[: 3 * overlap // 8].max() == 0
        if start + side < length:
            assert weight[-(3 * overlap // 8) :].max() == 0
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(SIDES, SIDES)
def test_tiles_fit_their_budget_and_beat_squares(height, width):
    shape = tiles.tile_shape((height, width), 400, 96)

    def computed(shape):
        rows = tiles.positions(height, shape[0], 96)
        columns = tiles.positions(width, shape[1], 96)
        return len(rows) * len(columns) * shape[0] * shape[1]

    assert shape[0] * shape[1] <= 400**2
    assert shape[0] <= height and shape[1] <= width
    assert all(side % 4 == 0 for side in shape)
    if height * width > 400**2:
        assert computed(shape) <= computed((min(height, 400), min(width, 400)))


@pytest.mark.parametrize("size", [(64, 64), (64, 200), (300, 64), (180, 236)])
def test_tiles_of_a_picture_blend_to_that_picture(size):
    image = np.random.default_rng(0).random((*size, 5), dtype=np.float32)
    rows, columns = (tiles.positions(side, 64, 16) for side in size)
    cut = (image[r : r + 64, c : c + 64] for r in rows for c in columns)
    bands = list(tiles.blend(cut, rows, columns, 16))
    assert [top for top, _ in bands] == rows
    np.testing.assert_allclose(np.concatenate([b for _, b in bands]), image, atol=1e-6)


@given(
    st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=60),
    st.integers(1, 6),
)
def test_few_shapes_cover_all_sizes(sizes, limit):
    shapes = tiles.cover(sizes, limit)
    assert set(shapes) == set(sizes)
    assert len(set(shapes.values())) <= limit
    for (h, w), (height, width) in shapes.items():
        assert h <= height and w <= width
        assert height % 4 == width % 4 == 0


def test_shapes_stay_exact_while_they_are_few_and_merge_the_closest():
    sizes = [(100, 200)] * 3 + [(104, 200), (200, 100)]
    assert all(shape == size for size, shape in tiles.cover(sizes, 3).items())
    merged = tiles.cover(sizes, 2)
    assert merged[100, 200] == merged[104, 200] == (104, 200)
    assert merged[200, 100] == (200, 100)
