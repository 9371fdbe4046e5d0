"""A generator as StableHLO, in the form that `jax.export` writes and reads.

    exported = jax.export.deserialize(Path("model.stablehlo").read_bytes())
    clean, attention = exported.call(image)

Needs JAX there, and neither Flax nor raindrop; every accelerator that JAX has runs it.
"""

import json
import os
from pathlib import Path

import jax
import jax.export

from raindrop.errors import UserError
from raindrop.export import network
from raindrop.media import atomic
from raindrop.weights import LoadedGenerator

EXTENSION = ".stablehlo"
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def write(loaded: LoadedGenerator, path: str | os.PathLike, dtype: str) -> None:
    """Writes a generator, and beside it PATH.json with `network.metadata`.

    The form has no place for metadata of its own.

    Args:
      loaded: weights and fields.
      path: ends in .stablehlo; replaced if it is there.
      dtype: 'float32' or 'float16', of weights and computation.

    Raises:
      UserError: another extension, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != EXTENSION:
        raise UserError(f"{path} must end in {EXTENSION} for this format")
    whole = network.whole(loaded, dtype)
    exported = jax.export.export(jax.jit(whole.function), platforms=_PLATFORMS)
    data = exported(*whole.specs).serialize()
    described = network.metadata(loaded)
    described["inputs"], described["outputs"] = whole.inputs, whole.outputs
    try:
        with atomic.replacing(path.with_name(f"{path.name}.json")) as part:
            part.write_text(json.dumps(described, indent=2) + "\n")
        with atomic.replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
