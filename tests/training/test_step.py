import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from raindrop.models import generator, vgg
from raindrop.models.discriminator import Discriminator
from raindrop.training.losses import Objective
from raindrop.training.state import GANState, TrainState, make_optimizer
from raindrop.training.step import Networks, train_step
from raindrop.weights import release

SIZE = 64  # the smallest crop that the full-size discriminator takes


def test_gradients_agree_with_pytorch():
    """One step of both networks at full width, VGG included, from the same weights."""
    torch = pytest.importorskip("torch")
    import torch_twins as twins

    torch.manual_seed(0)
    twin_g, twin_d, twin_v = (
        twins.Generator(steps=2),
        twins.Discriminator(SIZE),
        twins.VGG(),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    batch = {
        "rainy": jax.random.uniform(keys[0], (2, SIZE, SIZE, 3)),
        "clean": jax.random.uniform(keys[1], (2, SIZE, SIZE, 3)),
        "mask": jax.random.bernoulli(keys[2], 0.2, (2, SIZE, SIZE, 1)).astype(float),
    }
    g_theirs, d_theirs = twins.gan_gradients(
        twin_g,
        twin_d,
        twin_v,
        *(torch.from_numpy(np.array(x).transpose(0, 3, 1, 2)) for x in batch.values()),
    )

    networks = Networks(
        generator.from_fields(
            {"attention": {"steps": 2}, "autoencoder": {"dilations": (2, 4, 8, 16)}}
        ),
        Discriminator(),
        vgg.VGG16(),
    )

    def to_flax(tensors):
        return release.to_flax({k: v.detach().numpy() for k, v in tensors.items()})

    g_params = to_flax(twin_g.state_dict())
    d_params = twins.to_flax(twin_d.state_dict(), twins.DISCRIMINATOR_NAMES)
    vgg_params = twins.to_flax(twin_v.state_dict(), twins.VGG_NAMES)
    # An optimizer whose state is the gradient.
    keep = optax.trace(decay=0.0)
    state = GANState(
        *(
            TrainState.create(apply_fn=None, params=params, tx=keep)
            for params in (g_params, d_params)
        ),
        ema=g_params,
    )
    constant = optax.constant_schedule(1.0)
    new, _ = jax.jit(
        lambda state, batch: train_step(
            state,
            vgg_params,
            batch,
            networks=networks,
            objective=Objective(),
            schedules={"generator": constant, "discriminator": constant},
            ema_decay=0.9,
        )
    )(state, batch)

    for ours, theirs in (
        (new.generator.opt_state.trace, to_flax(g_theirs)),
        (
            new.discriminator.opt_state.trace,
            twins.to_flax(d_theirs, twins.DISCRIMINATOR_NAMES),
        ),
    ):
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for (path, a), b in zip(
            jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True
        ):
            scale = np.abs(b).max()
            assert scale > 0, path
            error = jnp.abs(a - b).max() / scale
            assert error < 1e-3, (jax.tree_util.keystr(path), float(error))


def test_muon_takes_orthogonal_steps_of_the_size_of_adams():
    keys = jax.random.split(jax.random.key(0), 2)
    gradients = {
        "kernel": jax.random.normal(keys[0], (3, 3, 4, 8)),
        "bias": jax.random.normal(keys[1], (8,)),
    }
    steps = {}
    for name in ("adam", "muon"):
        constant = optax.constant_schedule(1.0)
        optimizer = make_optimizer(name, constant, 0.9, 0.999, 0)
        state = optimizer.init(gradients)
        steps[name], _ = jax.jit(optimizer.update)(gradients, state, gradients)
    # Nesterov's Adam, so the first step is larger.
    np.testing.assert_allclose(
        steps["muon"]["bias"], 1.474 * steps["adam"]["bias"], rtol=1e-3
    )
    matrix = np.reshape(steps["muon"]["kernel"], (36, 8))
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values.max() < 1.8 * values.min()
    np.testing.assert_allclose(np.sqrt(np.mean(matrix**2)), 0.2, rtol=0.2)
    # Towards less of the loss.
    assert np.sum(matrix * np.reshape(gradients["kernel"], (36, 8))) < 0
    with pytest.raises(ValueError, match=r"optimizer\.name"):
        make_optimizer("sgd", constant, 0.9, 0.999, 0)
