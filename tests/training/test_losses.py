import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raindrop.training import losses


def test_attention_loss_weighs_the_last_step_most():
    """Equation 4 written out: theta^(N-t), 1 for the last of the N maps."""
    maps = jnp.stack([jnp.full((1, 4, 4, 1), v) for v in (0.1, 0.2, 0.3)])
    mask = jnp.zeros((1, 4, 4, 1))
    expected = 0.8**2 * 0.1**2 + 0.8 * 0.2**2 + 0.3**2
    np.testing.assert_allclose(
        losses.attention_loss(maps, mask, 0.8), expected, rtol=1e-6
    )


def test_multiscale_targets_are_means_over_the_pixels_a_small_pixel_stands_for():
    clean = jax.random.uniform(jax.random.key(0), (2, 8, 12, 3))
    blocks = clean.reshape(2, 4, 2, 6, 2, 3).mean((2, 4))
    quarters = clean.reshape(2, 2, 4, 3, 4, 3).mean((2, 4))
    perfect = losses.multiscale_loss((quarters, blocks, clean), clean, (0.6, 0.8, 1))
    np.testing.assert_allclose(perfect, 0, atol=1e-12)
    off = losses.multiscale_loss(
        (quarters + 0.1, blocks + 0.2, clean + 0.3), clean, (0.6, 0.8, 1)
    )
    expected = 0.6 * 0.1**2 + 0.8 * 0.2**2 + 0.3**2
    np.testing.assert_allclose(off, expected, rtol=1e-4)


def test_the_psnr_norm_is_the_mean_psnr_up_to_thirty_decibels():
    clean = jax.random.uniform(jax.random.key(0), (3, 8, 8, 3))
    off = jnp.array([0.0, 0.01, 0.1]).reshape(3, 1, 1, 1)
    loss = losses.multiscale_loss((clean + off,), clean, (1.0,), "psnr")
    mse = np.array([0, 1e-4, 1e-2]) + 1e-3
    np.testing.assert_allclose(loss, np.log10(mse).mean(), rtol=1e-4)


def test_the_judged_loss_teaches_what_to_count_and_nothing_else():
    """Down where the right thing was painted, up where not; no gradient to painting."""
    clean = jnp.full((1, 16, 16, 3), 0.5)
    rainy = clean.at[:, :, :8].add(0.2)  # a drop on the left
    painted = clean.at[:, :, 8:].add(0.2)  # taken away, and another one painted
    wet = jnp.full((1, 16, 16, 1), 0.5)
    by_wet, by_painted = jax.grad(losses.judged_loss, (0, 2))(
        wet, rainy, painted, clean
    )
    assert (by_wet[:, :, :8] < 0).all() and (by_wet[:, :, 8:] > 0).all()
    assert not by_painted.any()
    right = jnp.zeros_like(wet).at[:, :, :8].set(1)
    least = losses.judged_loss(right, rainy, painted, clean)
    np.testing.assert_allclose(least, np.log10(2e-5), rtol=1e-4)


@pytest.mark.parametrize("kind", ["minimax", "non_saturating"])
def test_adversarial_losses_fall_as_the_output_fools(kind):
    logits = jnp.array([-40.0, -1.0, 0.0, 1.0, 40.0])
    values = np.array([losses.adversarial_loss(x[None], kind) for x in logits])
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) <= 0)
    at_even_odds = {"minimax": -np.log(2), "non_saturating": np.log(2)}[kind]
    np.testing.assert_allclose(values[2], at_even_odds, rtol=1e-6)


def test_objective_refuses_what_does_not_exist():
    with pytest.raises(ValueError, match="adversarial_loss"):
        losses.Objective(adversarial_loss="wasserstein")
