"""What computes a network's calls for a `Derainer`: JAX, or another runtime."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from raindrop import compilation_cache
from raindrop.models import generator
from raindrop.models.overview import Overview
from raindrop.weights import LoadedGenerator


class Engine(Protocol):
    """Runs a network on float32 arrays of RGB in [0, 1].

    Attributes:
      name: for people.
      devices: that share a batch; its size is a multiple of it.
      masks_padding: `run` takes `sizes` that are smaller than the arrays, and gives
        what it would without the rest, if the network's interface promises so.
      any_batch: another batch size costs no compilation.
    """

    name: str
    devices: int
    masks_padding: bool
    any_batch: bool

    def run(
        self, x: np.ndarray, sizes: np.ndarray | None, with_maps: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The whole network.

        Args:
          x: [B, H, W, 3], H and W multiples of the interface's `multiple`.
          sizes: [B, 2], the height and width of each picture in its array, the rest of
            which is zero; None where every picture fills it.
          with_maps: whether the maps are wanted.

        Returns:
          The pictures, [B, H, W, 3], and `GeneratorOutput.maps`, or None.
        """

    def attend(self, x: np.ndarray) -> np.ndarray:
        """The first half: [B, H, W, 3] -> maps [N, B, H, W, 1]."""

    def restore(self, x: np.ndarray, attention: np.ndarray) -> np.ndarray:
        """The second half: pictures and one map each, [B, H, W, 1] -> pictures."""


class JaxEngine:
    """The network in JAX, compiled for every shape; on all accelerators, or the CPU.

    Args:
      loaded: the weights and their network.
      devices: that share the work; all accelerators there are, or the CPU.
    """

    name = "jax"
    masks_padding = True
    any_batch = False

    def __init__(
        self,
        loaded: LoadedGenerator,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        if devices is None:
            devices = jax.local_devices()
            devices = devices[:1] if devices[0].platform == "cpu" else devices
        self.devices = len(devices)
        # Why jit and not pmap, as in training: see `training.setup.make_step`.
        mesh = Mesh(np.array(devices), ("batch",))
        self._over_batch = NamedSharding(mesh, PartitionSpec("batch"))
        network = generator.from_fields(loaded.fields)
        replicated = NamedSharding(mesh, PartitionSpec())
        self._params = jax.device_put(loaded.params, replicated)
        # Code that is elsewhere may change unseen.
        ours = type(network).__module__.startswith("raindrop.models.")
        self._network = generator.complete(loaded.fields) if ours else None
        self._programs: dict[Any, Callable[..., Any]] = {}

        def apply(params: Any, x: jax.Array, sizes: Any) -> Any:
            with nn.intercept_methods(_bounded(sizes, x.shape[1])):
                output = network.apply({"params": params}, x).judged(x)
            return output.image, output.maps

        def apply_without_maps(params: Any, x: jax.Array, sizes: Any) -> Any:
            return apply(params, x, sizes)[0], None

        def attend(params: Any, x: jax.Array) -> jax.Array:
            return network.apply({"params": params}, x, method="attend")

        def restore(params: Any, x: jax.Array, attention: jax.Array) -> jax.Array:
            return network.apply({"params": params}, x, attention, method="restore")[-1]

        some = (apply, apply_without_maps, attend, restore)
        self._functions = {function.__name__: jax.jit(function) for function in some}

    def run(
        self, x: np.ndarray, sizes: np.ndarray | None, with_maps: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Engine`."""
        bounds = None if sizes is None else self._put(sizes)
        name = "apply" if with_maps else "apply_without_maps"
        return jax.device_get(self._call(name, self._put(x), bounds))

    def attend(self, x: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        return np.array(self._call("attend", self._put(x)))

    def restore(self, x: np.ndarray, attention: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        placed = self._put(x), self._put(attention)
        return jax.device_get(self._call("restore", *placed))

    def _call(self, name: str, *arguments: jax.Array | None) -> Any:
        """One of the functions, by an earlier run's program if there is one."""
        function = self._functions[name]
        if self._network is None:
            return function(self._params, *arguments)
        key = name, *(x if x is None else x.shape for x in arguments)
        if key not in self._programs:
            question = [key, self._network, _code()]
            self._programs[key] = compilation_cache.kept(
                question, function, self._params, *arguments
            )
        return self._programs[key](self._params, *arguments)

    def _put(self, array: np.ndarray) -> jax.Array:
        return jax.device_put(array, self._over_batch)


@functools.cache
def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _bounded(sizes: jax.Array | None, height: int) -> nn.module.Interceptor:
    """Makes layers see no more than `sizes`, as at a picture's own border.

    Convolutions see zeros outside of it, and an `Overview` pools over its inside alone.

    A picture in a larger array of zeros is no longer surrounded by zeros after the
    first bias. With the surroundings zeroed before each convolution its pixels come out
    as they do without the larger array, which one compilation for many sizes needs.

    Args:
      sizes: [B, 2], height and width of each picture; None bounds nothing.
      height: of the full-size array.
    """

    def intercept(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module, bounded = context.module, (nn.Conv, nn.ConvTranspose, Overview)
        ours = isinstance(module, bounded) and context.method_name == "__call__"
        if sizes is None or not ours:
            return call(*args, **kwargs)
        x = args[0]
        inside = sizes // (height // x.shape[1])
        rows = jnp.arange(x.shape[1]) < inside[:, :1]
        columns = jnp.arange(x.shape[2]) < inside[:, 1:]
        mask = rows[:, :, None, None] & columns[:, None, :, None]
        if isinstance(module, Overview):
            return call(x, mask)
        return call(jnp.where(mask, x, 0), *args[1:], **kwargs)

    return intercept
