"""What the benchmarks time: ours and the same in PyTorch, each as a function to call.

Weights and pictures are random; a call returns when its work is done. Neither needs
more than JAX, Flax, Optax and PyTorch.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[1] / "tests"),
]

import jax
import jax.numpy as jnp
import optax

from raindrop.compilation_cache import compile_ahead
from raindrop.models import generator, vgg
from raindrop.models.attentive_generator import Generator
from raindrop.models.discriminator import Discriminator
from raindrop.training.losses import Objective
from raindrop.training.state import create, make_optimizer
from raindrop.training.step import Networks, train_step

Run = Callable[[], object]


def _pictures(batch: int, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(size=(batch, height, width, channels)).astype(np.float32)
        for name, channels in (("rainy", 3), ("clean", 3), ("mask", 1))
    }


def _generator(attention: dict[str, Any], **computation: Any) -> Generator:
    autoencoder = {"dilations": (2, 4, 8, 16)}
    fields = {"attention": attention, "autoencoder": autoencoder}
    return generator.from_fields(fields, **computation)


def jax_forward(
    shape: tuple[int, int, int],
    attention: dict[str, Any] | None = None,
    dtype: Any = jnp.float32,
) -> tuple[Run, Any]:
    """The generator for pictures of (B, H, W).

    Args:
      shape: of the pictures.
      attention: fields of the recurrent network.
      dtype: of the computation.

    Returns:
      The run, and the compiled program.
    """
    net = _generator(attention or {}, dtype=dtype)
    tiny = jnp.zeros((1, 8, 8, 3))
    variables = net.init(jax.random.key(0, impl="rbg"), tiny)
    image = jax.device_put(_pictures(*shape)["rainy"])
    forward = jax.jit(lambda variables, image: net.apply(variables, image).image)
    compiled = forward.lower(variables, image).compile()
    return lambda: compiled(variables, image).block_until_ready(), compiled


def jax_train_step(
    size: int,
    batch: int,
    attention: dict[str, Any] | None = None,
    dtype: Any = jnp.float32,
    fast_gradients: bool = True,
) -> tuple[Run, Any, float]:
    """The whole GAN step, on crops of `size`.

    Args:
      size: side of the crops.
      batch: number of them.
      attention: fields of the recurrent network.
      dtype: of the computation.
      fast_gradients: of all networks.

    Returns:
      The run, the compiled program, and the seconds that its compilation took.
    """
    computation = {"dtype": dtype, "fast_gradients": fast_gradients}
    networks = Networks(
        _generator(attention or {}, **computation),
        Discriminator(**computation),
        vgg.VGG16(**computation),
    )
    schedule = optax.constant_schedule(2e-4)
    names = ("generator", "discriminator")
    state = create(
        jax.random.key(0, impl="rbg"),
        networks.generator,
        networks.discriminator,
        {name: make_optimizer("adam", schedule, 0.5, 0.999, 0.0) for name in names},
        size,
    )
    tiny = jnp.zeros((1, 8, 8, 3))
    vgg_params = networks.vgg.init(jax.random.key(1, impl="rbg"), tiny)["params"]
    data = jax.device_put(_pictures(batch, size, size))
    step = partial(
        train_step,
        networks=networks,
        objective=Objective(),
        schedules=dict.fromkeys(names, schedule),
        ema_decay=0.999,
    )
    start = time.perf_counter()
    jitted = jax.jit(step, donate_argnums=0)
    compiled = compile_ahead(jitted, state, vgg_params, data)
    seconds = time.perf_counter() - start

    def run() -> None:
        nonlocal state
        state, metrics = compiled(state, vgg_params, data)
        jax.block_until_ready((state, metrics))

    return run, compiled, seconds


def _to_torch(pictures: dict[str, np.ndarray], like: Any) -> list[Any]:
    """As NCHW tensors, on the device and in the memory format of a module."""
    import torch

    parameter = next(p for p in like.parameters() if p.ndim == 4)
    tensors = [torch.from_numpy(x.transpose(0, 3, 1, 2)) for x in pictures.values()]
    channels_last = parameter.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return [t.to(parameter.device).contiguous(memory_format=layout) for t in tensors]


def _place(module: Any, device: str, channels_last: bool, compiled: bool) -> Any:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = module.to(device=device, memory_format=layout)
    return torch.compile(module) if compiled else module


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def torch_forward(
    shape: tuple[int, int, int],
    device: str = "cpu",
    autocast: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
) -> Run:
    """`jax_forward` in PyTorch.

    Args:
      shape: of the pictures.
      device: 'cpu' or 'cuda'.
      autocast: to bfloat16.
      channels_last: memory format; else NCHW.
      compiled: by `torch.compile`; else eager.
    """
    import torch
    import torch_twins as twins

    net = _place(twins.Generator().eval(), device, channels_last, compiled)
    image, *_ = _to_torch(_pictures(*shape), net)

    def run() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=autocast),
        ):
            net(image)
        _wait(device)

    return run


def torch_train_step(
    size: int,
    batch: int,
    device: str = "cpu",
    autocast: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
) -> Run:
    """`jax_train_step` in PyTorch; arguments as for `torch_forward`."""
    import torch
    import torch_twins as twins

    networks = twins.Generator(), twins.Discriminator(size), twins.VGG()
    g, d, v = (_place(n, device, channels_last, compiled) for n in networks)
    optimizers = [
        torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (g, d)
    ]
    average = [p.detach().clone() for p in g.parameters()]
    data = _to_torch(_pictures(batch, size, size), g)

    def run() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            both = twins.gan_gradients(g, d, v, *data)
        for module, gradients, optimizer in zip((g, d), both, optimizers, strict=True):
            for name, parameter in module.named_parameters():
                parameter.grad = gradients[name]
            optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in g.parameters()], 0.001)
        _wait(device)

    return run
