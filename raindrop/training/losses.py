"""The losses, with the symbols of the paper: pure functions of network outputs.

Pictures are RGB, nominally in [0, 1]. Every loss is a mean over the batch, so that the
mean over equal shards is the loss of the whole.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

# Of SSIM (Wang et al. 2004), as in scikit-image and in the authors' evaluation.
_SSIM_WINDOW = 7
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
# Added to a judged picture's squared error: what is closer than 47 dB is close enough.
_LEAST_JUDGED = 2e-5
# How much each place counts beside the picture; its side in pixels; and the squared
# change by which it counts half.
_BY_PLACE, _PLACE, _MATTERS = 0.1, 8, 2e-4


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weights and choices of L_G and L_D. The values of the paper are the defaults.

    Attributes:
      attention: weight of L_ATT.
      attention_decay: theta of L_ATT (0.8; the authors' older scripts have 0.6).
      gate: weight of the squared error of the generator's gate, where it has one of its
        own, against the mask.
      wet: weight of `judged_loss`, where the generator has an `Overview`. No other part
        of it learns from that.
      multiscale: lambda of L_M, for 1/4, 1/2 and full size.
      multiscale_norm: 'l2' (the paper's squared error), 'l1' or 'psnr'; see
        `multiscale_loss`.
      least_mse: of 'psnr': a picture that is this close is close enough. With 1e-4
        (40 dB) panes without drops weigh so much that the network learns to leave
        pictures alone.
      ssim: weight of 1 - SSIM of the full-size picture.
      perceptual: weight of L_P; 0 leaves VGG out altogether.
      adversarial: weight of L_GAN; 0 leaves the discriminator out altogether.
      adversarial_loss: 'minimax', log(1 - D(O)), or 'non_saturating', -log D(O).
      map: gamma, weight of the discriminator's map loss.
      map_target: what the map of a generated picture shall be: 'attention' (A_N) or
        'mask' (M, for generators without attention).
    """

    attention: float = 1.0
    attention_decay: float = 0.8
    gate: float = 0.0
    wet: float = 0.0
    multiscale: tuple[float, float, float] = (0.6, 0.8, 1.0)
    multiscale_norm: str = "l2"
    least_mse: float = 1e-3
    ssim: float = 0.0
    perceptual: float = 1.0
    adversarial: float = 0.01
    adversarial_loss: str = "minimax"
    map: float = 0.05
    map_target: str = "attention"

    def __post_init__(self) -> None:
        """Refuses a choice that does not exist."""
        for name, choices in (
            ("adversarial_loss", ("minimax", "non_saturating")),
            ("map_target", ("attention", "mask")),
            ("multiscale_norm", ("l1", "l2", "psnr")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"loss.{name} must be one of {choices}, not {getattr(self, name)!r}"
                )


def attention_loss(maps: jax.Array, mask: jax.Array, decay: float) -> jax.Array:
    """L_ATT = sum_t theta^(N-t) MSE(A_t, M), equation 4.

    Args:
      maps: A_1 to A_N, [N, B, H, W, 1].
      mask: M, [B, H, W, 1], 1 where there is a drop.
      decay: theta.
    """
    errors = jnp.mean((maps - mask) ** 2, axis=(1, 2, 3, 4))
    exponents = jnp.arange(maps.shape[0] - 1, -1, -1)
    return jnp.sum(decay**exponents * errors)


def judged_loss(
    wet: jax.Array, rainy: jax.Array, painted: jax.Array, clean: jax.Array
) -> jax.Array:
    """What teaches an overview how far it is to count what a generator painted.

    -PSNR / 10 of what inference gives, by which alone `base` would judge a picture as a
    whole; and for each place, a little, the cross-entropy with what is best there.

    Args:
      wet: how far what is painted counts, [B, H, W, 1].
      rainy: [B, H, W, 3].
      painted: the generator's picture, [B, H, W, 3]; no gradient goes into it.
      clean: [B, H, W, 3].
    """
    change = jnp.clip(jax.lax.stop_gradient(painted), 0, 1) - rainy
    wanted = clean - rainy
    mse = jnp.mean((wet * change - wanted) ** 2, axis=(1, 2, 3))
    side = min(_PLACE, *wet.shape[1:3])

    def by_place(x: jax.Array) -> jax.Array:
        return nn.avg_pool(x.mean(-1, keepdims=True), (side, side), (side, side))

    matters = by_place(change**2)
    best = jnp.clip(by_place(change * wanted) / jnp.maximum(matters, 1e-9), 0, 1)
    share = jnp.clip(by_place(wet), 1e-6, 1 - 1e-6)
    entropy = -best * jnp.log(share) - (1 - best) * jnp.log1p(-share)
    places = jnp.mean(matters / (matters + _MATTERS) * entropy)
    return jnp.mean(jnp.log10(mse + _LEAST_JUDGED)) + _BY_PLACE * places


def multiscale_loss(
    scales: Sequence[jax.Array],
    clean: jax.Array,
    weights: Sequence[float],
    norm: str = "l2",
    least_mse: float = 1e-3,
) -> jax.Array:
    """L_M = sum_i lambda_i MSE(S_i, T_i), equation 5.

    T_i is the mean of `clean` over the pixels that one pixel of S_i stands for.

    Args:
      scales: pictures at 1/4, 1/2 and full size, smallest first.
      clean: [B, H, W, 3].
      weights: lambda, in the same order.
      norm: 'l2' for the squared error, 'l1' for the absolute one, 'psnr' for -PSNR / 10
        of each picture, with `least_mse` added to its squared error: the factor by
        which a picture gets better counts as much where little is wrong as where much
        is (HINet, arXiv:2105.06086, section 3.3, without the limit).
      least_mse: see `norm`.
    """
    loss = jnp.zeros(())
    for scale, weight in zip(scales, weights, strict=True):
        factor = clean.shape[1] // scale.shape[1]
        target = nn.avg_pool(clean, (factor, factor), (factor, factor))
        error = scale - target
        if norm == "psnr":
            mse = jnp.mean(error**2, axis=(1, 2, 3))
            loss += weight * jnp.mean(jnp.log10(mse + least_mse))
        else:
            loss += weight * jnp.mean(error**2 if norm == "l2" else jnp.abs(error))
    return loss


def ssim_loss(image: jax.Array, clean: jax.Array) -> jax.Array:
    """1 - SSIM of the luma (Wang et al. 2004; uniform 7 x 7 windows, no border).

    The measure of protocol `release`, but unrounded and with the variance of a window
    over 49 rather than 48.

    Args:
      image: [B, H, W, 3], RGB, nominally in [0, 1].
      clean: [B, H, W, 3].
    """
    luma = jnp.array([0.299, 0.587, 0.114])
    x, y = image.astype(jnp.float32) @ luma, clean.astype(jnp.float32) @ luma
    means = _window_means(jnp.stack([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = means
    covariance = mean_xy - mean_x * mean_y
    variances = mean_xx - mean_x**2 + mean_yy - mean_y**2
    ssim = (2 * mean_x * mean_y + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    ssim /= (mean_x**2 + mean_y**2 + _SSIM_C1) * (variances + _SSIM_C2)
    return 1 - jnp.mean(ssim)


def _window_means(x: jax.Array) -> jax.Array:
    """Means over windows along the last two axes."""
    for axis in (-2, -1):
        length = x.shape[axis] - _SSIM_WINDOW + 1
        slices = [
            jax.lax.slice_in_dim(x, i, i + length, axis=axis)
            for i in range(_SSIM_WINDOW)
        ]
        x = sum(slices, jnp.zeros(())) / _SSIM_WINDOW
    return x


def perceptual_loss(
    output: Mapping[str, jax.Array], target: Mapping[str, jax.Array], scale: float
) -> jax.Array:
    """L_P = MSE(VGG(O), VGG(T)), equation 6, averaged over the layers.

    Args:
      output: features of O by layer.
      target: features of T by layer.
      scale: factor on the features (`VGG16.feature_scale`).
    """
    errors = [jnp.mean((output[k] - target[k]) ** 2) for k in output]
    return scale**2 * jnp.mean(jnp.stack(errors))


def adversarial_loss(fake_logits: jax.Array, kind: str) -> jax.Array:
    """L_GAN of the generator: log(1 - D(O)), or the non-saturating -log D(O)."""
    if kind == "minimax":
        return jnp.mean(jax.nn.log_sigmoid(-fake_logits))
    return -jnp.mean(jax.nn.log_sigmoid(fake_logits))


def discriminator_losses(
    real_logits: jax.Array, fake_logits: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """-log D(R) and -log(1 - D(O)), the two terms of equation 8; logits [B]."""
    real = -jnp.mean(jax.nn.log_sigmoid(real_logits))
    fake = -jnp.mean(jax.nn.log_sigmoid(-fake_logits))
    return real, fake


def map_loss(
    real_map: jax.Array, fake_map: jax.Array, attention: jax.Array
) -> jax.Array:
    """MSE(map(O), A_N) + MSE(map(R), 0), equation 9; all [B, H, W, 1]."""
    return jnp.mean((fake_map - attention) ** 2) + jnp.mean(real_map**2)
