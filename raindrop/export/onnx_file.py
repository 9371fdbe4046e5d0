"""A generator as one ONNX file, for pictures of any size, batches too."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from raindrop.errors import UserError
from raindrop.export import network
from raindrop.media import atomic
from raindrop.weights import LoadedGenerator

if TYPE_CHECKING:
    import onnx

EXTENSION = ".onnx"


def write(loaded: LoadedGenerator, path: str | os.PathLike, dtype: str) -> None:
    """Writes a generator; input and outputs are named as in `network.whole`.

    Args:
      loaded: weights and fields.
      path: ends in .onnx; replaced if it is there.
      dtype: 'float32' or 'float16', of weights and computation.

    Raises:
      UserError: another extension, no `onnx` package, a network with a computation
        that cannot be converted, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != EXTENSION:
        raise UserError(f"{path} must end in {EXTENSION} for this format")
    data = model(loaded, network.whole(loaded, dtype)).SerializeToString()
    try:
        with atomic.replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def model(loaded: LoadedGenerator, exported: network.Exported) -> "onnx.ModelProto":
    """The checked model of a function, with `network.metadata` in it.

    Raises:
      UserError: no `onnx` package, or a computation that cannot be converted.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UserError("this needs the package onnx: pip install onnx")
    from onnx import helper

    from raindrop.export import jaxpr_to_onnx
    from raindrop.export.onnx_graph import UnsupportedError

    try:
        traced = jaxpr_to_onnx.trace(exported.function, *exported.specs)
        made = jaxpr_to_onnx.convert(
            traced, exported.inputs, exported.outputs, "raindrop"
        )
    except UnsupportedError as error:
        raise UserError(
            f"this network uses {error}, which the export to ONNX does not know; "
            "--format=stablehlo takes every network"
        ) from None
    helper.set_model_props(made, network.metadata(loaded))
    return made
