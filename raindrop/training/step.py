"""The pure training step: generator update, discriminator update, moving average."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from raindrop.models.discriminator import Discriminator
from raindrop.models.interface import GeneratorOutput, Network
from raindrop.models.vgg import VGG16
from raindrop.training import losses
from raindrop.training.losses import Objective
from raindrop.training.state import GANState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Networks:
    """The three networks of a step; VGG only where the perceptual loss has a weight."""

    generator: Network
    discriminator: Discriminator
    vgg: VGG16 | None


def train_step(
    state: GANState,
    vgg_params: Any,
    batch: Batch,
    *,
    networks: Networks,
    objective: Objective,
    schedules: Mapping[str, optax.Schedule],
    ema_decay: float,
    axis_name: str | None = None,
) -> tuple[GANState, Metrics]:
    """One update of both networks.

    The generator runs once; the discriminator is then updated on that same output,
    without a gradient into the generator.

    Args:
      state: of both networks.
      vgg_params: parameters of `networks.vgg`; no gradient goes into them.
      batch: 'rainy' and 'clean' [B, H, W, 3], RGB in [0, 1], and 'mask' [B, H, W, 1].
      networks: see `Networks`.
      objective: weights of the losses.
      schedules: learning rates, for the metrics.
      ema_decay: of the generator's moving average.
      axis_name: of the enclosing pmap; gradients and metrics are averaged over it.

    Returns:
      The new state, and scalars: the losses `g_*` and `d_*` before their weights, the
      sums `g_total` and `d_total`, gradient norms and learning rates.
    """

    def mean_over_devices(tree: Any) -> Any:
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    gradients, (output, metrics) = jax.grad(_generator_loss, has_aux=True)(
        state.generator.params,
        state.discriminator.params,
        vgg_params,
        batch,
        networks,
        objective,
    )
    gradients = mean_over_devices(gradients)
    generator = state.generator.apply_gradients(grads=gradients)
    metrics["g_gradient_norm"] = _norm(gradients)
    metrics["g_learning_rate"] = schedules["generator"](state.step)

    discriminator = state.discriminator
    if objective.adversarial > 0:
        gradients, d_metrics = jax.grad(_discriminator_loss, has_aux=True)(
            discriminator.params, output, batch, networks, objective
        )
        gradients = mean_over_devices(gradients)
        discriminator = discriminator.apply_gradients(grads=gradients)
        metrics |= d_metrics
        metrics["d_gradient_norm"] = _norm(gradients)
        metrics["d_learning_rate"] = schedules["discriminator"](state.step)

    ema = optax.incremental_update(generator.params, state.ema, 1 - ema_decay)
    metrics = {name: jnp.asarray(value) for name, value in metrics.items()}
    return GANState(generator, discriminator, ema), mean_over_devices(metrics)


def _generator_loss(
    params: Any,
    discriminator_params: Any,
    vgg_params: Any,
    batch: Batch,
    networks: Networks,
    objective: Objective,
) -> tuple[jax.Array, tuple[GeneratorOutput, Metrics]]:
    """L_G of a batch, and what the generator gave; the gradient is by `params`."""
    clean, mask = batch["clean"], batch["mask"]
    output = networks.generator.apply({"params": params}, batch["rainy"])
    metrics = {
        "g_attention": losses.attention_loss(
            output.attention, mask, objective.attention_decay
        ),
        "g_multiscale": losses.multiscale_loss(
            output.scales,
            clean,
            objective.multiscale,
            objective.multiscale_norm,
            objective.least_mse,
        ),
    }
    total = objective.attention * metrics["g_attention"] + metrics["g_multiscale"]
    if objective.gate > 0 and output.gate is not None:
        metrics["g_gate"] = jnp.mean((output.gate - mask) ** 2)
        total += objective.gate * metrics["g_gate"]
    if objective.wet > 0 and output.wet is not None:
        metrics["g_wet"] = losses.judged_loss(
            output.wet, batch["rainy"], output.image, clean
        )
        total += objective.wet * metrics["g_wet"]
    if objective.ssim > 0:
        metrics["g_ssim"] = losses.ssim_loss(output.image, clean)
        total += objective.ssim * metrics["g_ssim"]
    if objective.perceptual > 0 and networks.vgg is not None:
        vgg: Callable[..., Any] = partial(networks.vgg.apply, {"params": vgg_params})
        metrics["g_perceptual"] = losses.perceptual_loss(
            vgg(output.image), vgg(clean), networks.vgg.feature_scale
        )
        total += objective.perceptual * metrics["g_perceptual"]
    if objective.adversarial > 0:
        fake: Any = networks.discriminator.apply(
            {"params": discriminator_params}, output.image
        )
        metrics["g_adversarial"] = losses.adversarial_loss(
            fake.logits, objective.adversarial_loss
        )
        total += objective.adversarial * metrics["g_adversarial"]
    return total, (output, metrics | {"g_total": total})


def _discriminator_loss(
    params: Any,
    output: GeneratorOutput,
    batch: Batch,
    networks: Networks,
    objective: Objective,
) -> tuple[jax.Array, Metrics]:
    """L_D of a batch; no gradient goes into the generator's `output`."""
    output = jax.lax.stop_gradient(output)
    discriminate: Callable[..., Any] = partial(
        networks.discriminator.apply, {"params": params}
    )
    real, fake = discriminate(batch["clean"]), discriminate(output.image)
    d_real, d_fake = losses.discriminator_losses(real.logits, fake.logits)
    target = batch["mask"]
    if objective.map_target == "attention":
        target = output.attention[-1]
    d_map = losses.map_loss(real.map, fake.map, target)
    total = d_real + d_fake + objective.map * d_map
    return total, {"d_real": d_real, "d_fake": d_fake, "d_map": d_map, "d_total": total}


def _norm(gradients: Any) -> jax.Array:
    # As one vector, as Adam has them: a sum to compile, not one for each parameter.
    return jnp.linalg.norm(ravel_pytree(gradients)[0])
