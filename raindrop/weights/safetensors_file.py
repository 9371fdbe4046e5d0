"""One .safetensors file: a generator's weights, and the network that fits them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from raindrop.errors import UserError
from raindrop.media import atomic
from raindrop.models import generator
from raindrop.weights import (
    PRETRAINED,
    SHIPPED_LICENCE,
    LoadedGenerator,
    layout,
)

_FORMAT = "raindrop-generator"


def write(loaded: LoadedGenerator, path: str | os.PathLike, dtype: str) -> None:
    """Writes a generator to one file that `read` takes; aside first, then renamed.

    Args:
      loaded: weights and fields.
      path: ends in .safetensors; replaced if it is there.
      dtype: 'float32' or 'float16', of the file.

    Raises:
      UserError: another extension, a folder that cannot be written, or a weight that is
        too large for float16.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} must end in .safetensors, the one format written")
    leaves = {}
    for name, leaf in traverse_util.flatten_dict(loaded.params, sep="/").items():
        leaf = np.asarray(leaf, np.float32)
        if np.abs(leaf).max(initial=0) > np.finfo(dtype).max:
            raise UserError(f"{name} has values that {dtype} cannot hold; use float32")
        leaves[name] = np.ascontiguousarray(leaf, dtype)
    fields = generator.complete(loaded.fields)
    metadata = {
        "format": _FORMAT,
        "generator": json.dumps(fields),
        "colour_order": "BGR" if fields.get("bgr") else "RGB",
        "value_range": "[-1, 1]" if fields.get("signed") else "[0, 1]",
        "source": loaded.source,
        "source_sha256": loaded.sha256,
        "licence": loaded.licence,
    }
    try:
        with atomic.replacing(path) as part:
            part.write_bytes(safetensors.numpy.save(leaves, metadata))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def is_safetensors(start: bytes) -> bool:
    """Whether a file starts as such: the header's length (8 bytes), then JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**27


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of any .safetensors file, by name, and its metadata.

    Raises:
      UserError: truncated or damaged.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} is truncated or damaged ({error})") from None


def generator_of(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], path: Path
) -> LoadedGenerator | None:
    """The generator that `write` wrote, or None if the file is from elsewhere.

    Raises:
      UserError: the network or the shapes are not those of this version.
    """
    if metadata.get("format") != _FORMAT:
        return None
    try:
        fields = json.loads(metadata["generator"])
        expected = layout.parameter_shapes(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} describes a network that this version does not know ({error})"
        ) from None
    layout.check_names(tensors, expected, str(path))
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"{path}: {name} has the shape {tensors[name].shape}; the network's "
                f"has {shape}"
            )
    leaves = {name: np.asarray(leaf, np.float32) for name, leaf in tensors.items()}
    shipped = path.resolve().parent == PRETRAINED.parent
    return LoadedGenerator(
        fields=fields,
        params=traverse_util.unflatten_dict(leaves, sep="/"),
        source=metadata.get("source", path.name),
        sha256=metadata.get("source_sha256", ""),
        licence=metadata.get("licence") or (SHIPPED_LICENCE if shipped else ""),
    )
