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


def test_wet_loss_leaves_out_panes_with_a_drop_that_none_can_see():
    mask = jnp.zeros((3, 50, 50, 1)).at[1, :3].set(1).at[2, 0, :2].set(1)
    right = jnp.array([-40.0, 40.0, 0.0])
    np.testing.assert_allclose(losses.wet_loss(right, mask), 0, atol=1e-6)
    np.testing.assert_allclose(losses.wet_loss(-right, mask), 80 / 3, rtol=1e-6)
    # However wrong it is about the third.
    np.testing.assert_allclose(losses.wet_loss(right.at[2].set(9), mask), 0, atol=1e-6)


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
