import itertools

import jax
import numpy as np
import tiny

from raindrop.data import photographs, pipeline


def take(config, first_step, count, *process):
    return list(itertools.islice(pipeline.crops(config, first_step, *process), count))


def test_batches_follow_from_the_step_alone():
    config = tiny.get_config()
    whole = take(config, 0, 5)
    resumed = take(config, 3, 2)
    for a, b in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(a["index"], b["index"])
        np.testing.assert_array_equal(a["images"], b["images"])
    indices = np.concatenate([batch["index"] for batch in whole])
    np.testing.assert_array_equal(indices, np.arange(40))
    assert len({batch["images"].tobytes() for batch in whole}) == 5


def test_processes_share_a_batch():
    config = tiny.get_config()
    (whole,) = take(config, 2, 1)
    parts = [take(config, 2, 1, i, 2)[0] for i in range(2)]
    for name in whole:
        together = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(whole[name], together)


def test_every_photograph_comes_once_an_epoch():
    config = tiny.get_config()
    paths, held_out = photographs.split("bundled", 1)
    assert not set(paths) & set(held_out)
    sizes = take(config, 0, len(paths))
    assert len(sizes) == len(paths)


def test_device_batches_do_not_depend_on_the_number_of_devices():
    """Each example is rendered from its index: the same on 8 devices as on one."""
    config = tiny.get_config()
    batch = next(pipeline.batches(config, 0))
    assert jax.device_count() == 8
    assert batch["rainy"].shape == (8, 1, 16, 16, 3)
    assert batch["mask"].shape == (8, 1, 16, 16, 1)
    config.training.batch_size = 16
    other = next(pipeline.batches(config, 0))
    for name in batch:
        np.testing.assert_allclose(
            np.concatenate(batch[name])[:8],
            np.concatenate(other[name])[:8],
            atol=1e-6,
        )
