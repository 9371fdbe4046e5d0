"""Checkpoints: damaged in every file, of other networks, across numbers of devices."""

import shutil

import jax
import numpy as np
import optax
import pytest
import tiny
from flax.training.train_state import TrainState

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.training import loop
from raindrop.training.state import GANState
from raindrop.weights import checkpoints, generators
from raindrop.weights.checkpoints import DamagedCheckpointError


def make_state(step, size=40):
    """A state of two networks of one layer each; its numbers follow from the step."""

    def network(name):
        rng = np.random.default_rng([step, len(name)])
        params = {name: rng.standard_normal((size, 3)).astype(np.float32)}
        made = TrainState.create(apply_fn=None, params=params, tx=optax.adam(1e-3))
        return made.replace(step=np.int32(step))

    generator = network("conv")
    return GANState(generator, network("dense"), generator.params)


def assert_equal(a, b):
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A work directory with the steps 1, the best, 2 and 3."""
    workdir = tmp_path_factory.mktemp("checkpoints") / "run"
    config = tiny.get_config()
    with checkpoints.Checkpoints(workdir) as saved:
        for step, psnr in ((1, 30.0), (2, 20.0), (3, None)):
            saved.save(make_state(step), config, psnr)
    return workdir


@pytest.fixture
def damaged(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def files(workdir, step):
    folder = workdir / "checkpoints" / str(step)
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def missing(path):
    path.unlink()


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """One byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [missing, cut_short, flipped])
def test_any_damage_is_found_or_does_not_matter(run, tmp_path, damage, caplog):
    """Every file of the newest checkpoint in turn: never a wrong number."""
    found = 0
    for i, name in enumerate(files(run, 3)):
        workdir = shutil.copytree(run, tmp_path / str(i))
        path = workdir / "checkpoints" / "3" / name
        if not path.stat().st_size:
            continue
        damage(path)
        caplog.clear()
        saved = checkpoints.read_newest(workdir)
        assert_equal(saved.into(make_state(0)), make_state(saved.step))
        loaded = generators.load_generator(workdir)
        assert_equal(loaded.params, make_state(1).ema)  # the best one is whole
        if saved.step == 3:
            continue
        assert saved.step == 2
        found += 1
        assert str(workdir / "checkpoints" / "3") + " is damaged" in caplog.text
    # The arrays and the JSON, at the least.
    assert found >= 3


def test_flipped_bytes_everywhere(damaged):
    """A hundred places in the arrays and the JSON beside them."""
    folder = damaged / "checkpoints" / "3"
    rng = np.random.default_rng(0)
    expected = make_state(3)
    found = 0
    for name in files(damaged, 3):
        path = folder / name
        whole = path.read_bytes()
        for place in rng.integers(0, max(len(whole), 1), 10 if whole else 0):
            content = bytearray(whole)
            content[place] ^= 1 << rng.integers(8)
            path.write_bytes(content)
            try:
                saved = checkpoints.read(damaged, 3)
            except DamagedCheckpointError:
                found += 1
            else:
                assert_equal(saved.into(make_state(0)), expected)
                assert saved.meta["config"]["data"]["crop_size"] == 16
        path.write_bytes(whole)
    assert found >= 20


def test_a_run_goes_on_beside_a_damaged_checkpoint(damaged):
    """What is damaged is put aside, and its step can be saved again."""
    flipped(damaged / "checkpoints" / "3" / "meta" / "metadata")
    cut_short(damaged / "checkpoints" / "1" / "metrics" / "metrics")
    saved = checkpoints.read_newest(damaged)
    assert saved.step == 2
    checkpoints.set_damaged_aside(damaged, saved.step)
    assert checkpoints.steps(damaged) == [2]
    assert (damaged / "checkpoints" / "3.damaged").is_dir()
    with checkpoints.Checkpoints(damaged) as again:
        again.save(make_state(3), tiny.get_config(), 10.0)
    assert checkpoints.read_newest(damaged).step == 3


def test_nothing_whole_is_one_clear_end(damaged):
    for step in (1, 2, 3):
        missing(damaged / "checkpoints" / str(step) / "state" / "_METADATA")
        flipped(damaged / "checkpoints" / str(step) / "meta" / "metadata")
    for read in (checkpoints.read_newest, generators.load_generator):
        with pytest.raises(UserError, match=r"no whole checkpoint .*1.* 2.* 3"):
            read(damaged)
    with pytest.raises(UserError, match="2 is damaged"):
        generators.load_generator(damaged / "checkpoints" / "2")


def test_a_damaged_best_is_told(damaged, caplog):
    flipped(damaged / "checkpoints" / "1" / "meta" / "metadata")
    loaded = generators.load_generator(damaged)
    assert_equal(loaded.params, make_state(2).ema)
    assert "1 is damaged" in caplog.text


def test_another_network_is_told_by_its_shapes(run):
    with pytest.raises(UserError, match="other networks"):
        checkpoints.read_newest(run).into(make_state(0, size=41))


def test_runs_of_one_name_are_told_apart(run, tmp_path):
    other = tmp_path / run.name
    with checkpoints.Checkpoints(other) as saved:
        saved.save(make_state(1, size=41), tiny.get_config(), None)
    loaded, again, others = map(generators.load_generator, (run, run, other))
    assert loaded.source == others.source
    assert loaded.sha256 == again.sha256 != others.sha256


def test_a_run_goes_on_without_the_weights_it_started_from(tmp_path):
    """The network that came with them is in its checkpoints."""
    for name in ("a", "b"):
        for side in ("data", "gt"):
            picture = np.zeros((16, 16, 3), np.uint8)
            pictures.write_image(tmp_path / side / f"{name}.png", picture)
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(tmp_path)
    config.loss.perceptual = 0.0
    config.training.weights = str(tmp_path / "moved.safetensors")
    networks, *_ = loop.make_networks(config)
    state, _ = loop.make_state(config, networks)
    step = np.int32(config.training.num_steps)
    state = state.replace(generator=state.generator.replace(step=step))
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save(state, config, None)
    config.model.generator.attention.channels += 1
    assert_equal(loop.train_and_evaluate(config, tmp_path), state)


def test_eight_devices_and_one(tmp_path):
    """Saved from eight, restored to one, saved from there, restored to eight."""
    assert jax.local_device_count() == 8
    state = loop.replicate(make_state(1))
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save(state, tiny.get_config(), None)
    one = jax.device_put(
        checkpoints.read(tmp_path, 1).into(make_state(0)), jax.devices()[3]
    )
    assert_equal(one, make_state(1))
    one = jax.tree.map(lambda x: x + 1, one)
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save(one, tiny.get_config(), None)
    eight = loop.replicate(checkpoints.read(tmp_path, 2).into(make_state(0)))
    assert_equal(eight, one)
    assert len(jax.tree.leaves(eight)[0].devices()) == 8


def test_a_bad_state_is_never_saved(tmp_path):
    state = make_state(4)
    state.ema["conv"][3, 1] = np.inf
    with (
        checkpoints.Checkpoints(tmp_path) as saved,
        pytest.raises(FloatingPointError, match="ema"),
    ):
        saved.save(state, tiny.get_config(), None)
    assert not checkpoints.steps(tmp_path)
