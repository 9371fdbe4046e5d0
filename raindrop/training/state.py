"""Generator and discriminator TrainStates, and the generator's moving average."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from flax.training.train_state import TrainState

from raindrop.models import generator as generators
from raindrop.models.discriminator import Discriminator
from raindrop.models.interface import Network


@flax.struct.dataclass
class GANState:
    """Everything that training changes."""

    generator: TrainState
    discriminator: TrainState
    ema: Any  # moving average of the generator's parameters, a tree like them

    @property
    def step(self) -> Any:
        """Steps taken."""
        return self.generator.step


def make_schedule(
    learning_rate: float, schedule: str, num_steps: int, warmup_steps: int, end: float
) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      learning_rate: the highest value.
      schedule: 'constant', 'cosine' or 'linear'.
      num_steps: at which the decay has ended.
      warmup_steps: of linear rise from zero.
      end: last value as a share of the highest.

    Raises:
      ValueError: an unknown schedule.
    """
    decay_steps = max(num_steps - warmup_steps, 1)
    if schedule == "constant":
        decay = optax.constant_schedule(learning_rate)
    elif schedule == "cosine":
        decay = optax.cosine_decay_schedule(learning_rate, decay_steps, end)
    elif schedule == "linear":
        decay = optax.linear_schedule(learning_rate, end * learning_rate, decay_steps)
    else:
        raise ValueError(
            "optimizer.schedule must be 'constant', 'cosine' or 'linear', "
            f"not {schedule!r}"
        )
    if warmup_steps == 0:
        return decay
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def _muon_matrices(params: Any) -> Any:
    """Which axes of a kernel [h, w, in, out] are a matrix's rows, and which columns."""
    dimensions = optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
    return jax.tree.map(lambda x: dimensions if x.ndim == 4 else None, params)


def make_optimizer(
    name: str, schedule: optax.Schedule, b1: float, b2: float, clip_norm: float
) -> optax.GradientTransformation:
    """Adam or Muon, after clipping to a global norm where `clip_norm` is above zero.

    Args:
      name: 'adam', or 'muon': the momentum of a convolution's kernel is made orthogonal
        before it is taken off (Jordan et al. 2024), as large as a step of Adam
        (arXiv:2502.16982, section 2.2); all other parameters have Nesterov's Adam.
      schedule: the learning rate as a function of the step.
      b1: of Adam.
      b2: of Adam.
      clip_norm: largest norm of all gradients together.

    Raises:
      ValueError: an unknown name.
    """
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm > 0 else optax.identity()
    if name == "adam":
        # As one vector: else each shape of parameters has programs of its own, a fifth
        # of the time that a step takes to compile on a CPU.
        return optax.flatten(optax.chain(clip, optax.adam(schedule, b1=b1, b2=b2)))
    if name == "muon":
        muon = optax.contrib.muon(
            schedule,
            adam_b1=b1,
            adam_b2=b2,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=_muon_matrices,
        )
        return optax.chain(clip, muon)
    raise ValueError(f"optimizer.name must be 'adam' or 'muon', not {name!r}")


def make_optimizers(
    config: Mapping[str, Any], num_steps: int
) -> tuple[dict[str, optax.GradientTransformation], dict[str, optax.Schedule]]:
    """Optimizers and schedules of both networks from the `optimizer` group.

    Returns:
      Two mappings with the keys 'generator' and 'discriminator'.
    """
    rates = {
        "generator": config["learning_rate"],
        "discriminator": config["discriminator_learning_rate"],
    }
    schedules = {
        name: make_schedule(
            rate,
            config["schedule"],
            num_steps,
            config["warmup_steps"],
            config["end_learning_rate"],
        )
        for name, rate in rates.items()
    }
    optimizers = {
        name: make_optimizer(
            config["name"], s, config["b1"], config["b2"], config["clip_norm"]
        )
        for name, s in schedules.items()
    }
    return optimizers, schedules


def _init(network: nn.Module | Network, key: jax.Array, size: int) -> Any:
    picture = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.jit(network.lazy_init)(key, picture)["params"]


def create(
    key: jax.Array,
    generator: Network,
    discriminator: Discriminator,
    optimizers: Mapping[str, optax.GradientTransformation],
    crop_size: int,
    generator_params: Any | None = None,
) -> GANState:
    """A fresh state.

    Args:
      key: all initial values follow from it.
      generator: any size will do.
      discriminator: made for `crop_size`.
      optimizers: 'generator' and 'discriminator'.
      crop_size: side of the training crops.
      generator_params: start from these in place of random ones.
    """
    generator_key, discriminator_key = jax.random.split(key)
    if generator_params is None:
        size = generators.example_size(generator)
        generator_params = _init(generator, generator_key, size)
    discriminator_params = _init(discriminator, discriminator_key, crop_size)

    def make(name: str, network: nn.Module | Network, params: Any) -> TrainState:
        made = TrainState.create(
            apply_fn=network.apply, params=params, tx=optimizers[name]
        )
        # Flax starts at a Python 0, of another type than what the step gives back: the
        # second call would compile once more.
        return made.replace(step=jnp.zeros((), jnp.int32))

    return GANState(
        generator=make("generator", generator, generator_params),
        discriminator=make("discriminator", discriminator, discriminator_params),
        # A copy: the step donates its state, and no buffer can be donated twice.
        ema=jax.tree.map(jnp.copy, generator_params),
    )
