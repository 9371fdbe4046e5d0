"""From a config to what a training loop calls: networks, a fresh state, the step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from raindrop.errors import UserError
from raindrop.models import generator
from raindrop.models.discriminator import Discriminator
from raindrop.training.losses import Objective
from raindrop.training.state import GANState, create, make_optimizers
from raindrop.training.step import Batch, Metrics, Networks, train_step
from raindrop.weights import vgg16

Step = Callable[[GANState, Any, Batch], tuple[GANState, Metrics]]
_AXIS = "devices"
_PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def make_networks(config: Any) -> tuple[Networks, Any, dict[str, str]]:
    """The networks of a config.

    Returns:
      The networks, VGG's parameters (None without a perceptual loss), and {'source',
      'sha256'} of the file that those came from.

    Raises:
      UserError: a precision that does not exist, or VGG weights that are not there.
    """
    if config.training.precision not in _PRECISIONS:
        raise UserError(
            f"training.precision must be one of {', '.join(_PRECISIONS)}, "
            f"not {config.training.precision!r}"
        )
    dtype = _PRECISIONS[config.training.precision]
    vgg = None
    if config.loss.perceptual > 0:
        vgg = vgg16.load_vgg16(
            config.vgg.weights, config.vgg.layers, config.training.seed, dtype
        )
    networks = Networks(
        generator=generator.from_fields(
            config.model.generator.to_dict(), dtype, config.model.fast_gradients
        ),
        discriminator=Discriminator(
            **config.model.discriminator,
            dtype=dtype,
            fast_gradients=config.model.fast_gradients,
        ),
        vgg=vgg.module.clone(fast_gradients=config.model.fast_gradients)
        if vgg
        else None,
    )
    if vgg is None:
        return networks, None, {"source": "none", "sha256": ""}
    return networks, vgg.params, {"source": vgg.source, "sha256": vgg.sha256}


def make_state(
    config: Any, networks: Networks, generator_params: Any | None = None
) -> tuple[GANState, dict[str, Any]]:
    """A fresh state, its generator from the given parameters if any; the schedules."""
    optimizers, schedules = make_optimizers(config.optimizer, config.training.num_steps)
    # XLA's own generator: the default one takes seconds to compile for this many draws.
    state = create(
        jax.random.key(config.training.seed, impl="rbg"),
        networks.generator,
        networks.discriminator,
        optimizers,
        config.data.crop_size,
        generator_params,
    )
    return state, schedules


def make_step(config: Any, networks: Networks, schedules: Any) -> Step:
    """The pmapped step.

    State and VGG go in and come out without a leading axis, the same on all devices;
    the batch has one. Gradients and metrics are averaged inside, over the same axis.

    Why pmap here, and jit with a sharded batch in `restoration`: a training step has to
    say where the devices meet, at its gradients and nowhere else, and with pmap and
    pmean that can be read in the step; its shapes never change. Pictures to restore
    have nothing to do with each other, come in many shapes, and need no meeting: there
    jit finds all it needs in the sharding of the batch, over one process's devices.
    """
    step = partial(
        train_step,
        networks=networks,
        objective=Objective(**config.loss),
        schedules=schedules,
        ema_decay=config.training.ema_decay,
        axis_name=_AXIS,
    )
    return jax.pmap(
        step, _AXIS, in_axes=(None, None, 0), out_axes=(None, None), donate_argnums=0
    )


def replicate(tree: Any) -> Any:
    """A copy on every local device, placed as the pmapped step leaves its state.

    Placed otherwise, the step would compile twice.
    """
    mesh = jax.sharding.Mesh(jax.local_devices(), (_AXIS,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(tree, sharding)
