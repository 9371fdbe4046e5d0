import numpy as np
from tiny import get_config

from raindrop.data import augmentation, clutter


def test_things_are_few_and_follow_from_one_number():
    scene = np.full((96, 128, 3), 120, np.uint8)
    changed = []
    for u in np.linspace(0, 0.999, 40):
        image = clutter.add(scene, u)
        assert image.shape == scene.shape and image.dtype == np.uint8
        np.testing.assert_array_equal(image, clutter.add(scene, u))
        changed.append((image != scene).any(-1).mean())
    assert np.median(changed) > 0.005
    # Most leave the rest of the scene as it is; lamps may stand in a darker one.
    assert np.mean(np.array(changed) > 0.9) < 0.4


def test_lamps_are_clipped_and_shine_far_around():
    """In a scene that is black otherwise, which things without light do not change."""
    shining = 0
    for u in np.linspace(0, 0.999, 60):
        image = clutter.add(np.zeros((96, 96, 3), np.uint8), u).max(-1)
        spread = np.quantile(image, [0.1, 0.5, 1.0])
        shining += spread[2] == 255 and 0 < spread[0] < spread[1] < 200
    assert shining > 10


def test_photographs_get_them_and_finished_pairs_do_not():
    data = get_config().data
    data.cluttered = 1.0
    images = np.full((data.crop_size, data.crop_size, 3), 120, np.uint8)
    draws = augmentation.Draws(*[0.5] * augmentation.NUM_DRAWS)
    assert (augmentation.augment(images, draws, data, scene=False) == 120).all()
    assert (augmentation.augment(images, draws, data, scene=True) != 120).any()
