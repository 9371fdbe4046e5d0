"""Other runtimes for `Derainer`: ONNX Runtime and OpenVINO, on the exported network.

They take every shape as it comes, so that nothing is compiled for it and no picture is
padded to a shared one.
"""

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from raindrop.errors import UserError
from raindrop.export import network, onnx_file
from raindrop.restoration import derainer
from raindrop.restoration.engine import Engine, JaxEngine
from raindrop.weights import LoadedGenerator

NAMES = ("jax", "onnxruntime", "openvino")
PRECISIONS = ("float32", "bfloat16")
# Results in their order, for arguments by name.
_Session = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]


def make(name: str, loaded: LoadedGenerator, precision: str = "float32") -> Engine:
    """The engine of that name.

    Args:
      name: one of `NAMES`.
      loaded: the network and its weights.
      precision: of the computation, one of `PRECISIONS`.

    Raises:
      UserError: a package is missing, or the engine cannot compute so, or not this
        network.
    """
    if name not in NAMES:
        raise UserError(f"there is no engine {name!r}; there are {', '.join(NAMES)}")
    if precision not in PRECISIONS:
        raise UserError(f"precision is {' or '.join(PRECISIONS)}, not {precision!r}")
    if precision != "float32" and name != "openvino":
        raise UserError(f"{precision} is for --engine=openvino alone, not {name}")
    if name == "jax":
        return JaxEngine(loaded)
    for package in ("onnx", name):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--engine={name} needs the package {package}: pip install {package}"
            )
    if name == "onnxruntime":
        return OnnxEngine(name, loaded, _in_onnxruntime)
    return OnnxEngine(
        name, loaded, functools.partial(_in_openvino, precision=precision)
    )


def load(
    weights: str | os.PathLike[str] | None = None,
    tile: int | None = None,
    engine: str = "jax",
    precision: str = "float32",
) -> derainer.Derainer:
    """Weights as an object with `.derain(image, attention=False)`: `raindrop.load`.

    Args:
      weights: what `--weights` takes: a name, a work directory, one of its checkpoints
        or a weight file; the ones that come with raindrop by default.
      tile: see `Derainer`.
      engine: what computes: 'jax', 'onnxruntime' or 'openvino'.
      precision: 'float32', or for OpenVINO 'bfloat16'.

    Raises:
      UserError: nothing there, damaged, or no generator; or see `make`.
    """
    return derainer.load_derainer(weights, tile, lambda of: make(engine, of, precision))


class OnnxEngine:
    """A network that was converted to ONNX; see `Engine`.

    Args:
      name: for people.
      loaded: the network and its weights.
      start: makes a session of a serialized ONNX model.

    Raises:
      UserError: a network that cannot be converted.
    """

    devices = 1
    masks_padding = False
    any_batch = True

    def __init__(
        self, name: str, loaded: LoadedGenerator, start: Callable[[bytes], _Session]
    ) -> None:
        self.name = name
        self._loaded = loaded
        self._start = start
        self._whole = self._session(network.whole(loaded))

    def _session(self, exported: network.Exported) -> _Session:
        model = onnx_file.model(self._loaded, exported)
        return self._start(model.SerializeToString())

    @functools.cached_property
    def _halves(self) -> list[_Session]:
        # Only for videos that are steadied: they hold the weights once more.
        return [self._session(half) for half in network.halves(self._loaded)]

    def run(
        self, x: np.ndarray, sizes: np.ndarray | None, with_maps: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Engine`."""
        with _memory_told():
            picture, *maps = self._whole({"image": x})
        if not with_maps:
            return picture, None
        return picture, maps[0] if maps else np.zeros((0, *x.shape[:3], 1), np.float32)

    def attend(self, x: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        with _memory_told():
            return self._halves[0]({"image": x})[0]

    def restore(self, x: np.ndarray, attention: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        arguments = {"image": x, "attention": np.ascontiguousarray(attention)}
        with _memory_told():
            return self._halves[1](arguments)[0]


def _in_onnxruntime(model: bytes) -> _Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    onnxruntime.disable_telemetry_events()
    # Its own order of preference: CUDA, where that package is installed, before a CPU;
    # and no other machine's.
    providers = [
        name
        for name in onnxruntime.get_available_providers()
        if name != "AzureExecutionProvider"
    ]
    session = onnxruntime.InferenceSession(model, options, providers=providers)
    return functools.partial(session.run, None)


def _in_openvino(model: bytes, precision: str) -> _Session:
    # OpenVINO reports its import to Google Analytics, through this package, from a fork
    # of the process. It does without where there is no such package.
    hidden = sys.modules.setdefault("openvino_telemetry", None) is None
    import openvino

    if hidden:
        del sys.modules["openvino_telemetry"]

    core = openvino.Core()
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    compiled = core.compile_model(
        core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": hint}
    )
    request = compiled.create_infer_request()

    def run(arguments: dict[str, np.ndarray]) -> list[np.ndarray]:
        # Without a copy the next call would overwrite what this one gave.
        results = request.infer(arguments, share_outputs=False)
        return [results[output] for output in compiled.outputs]

    return run


@contextlib.contextmanager
def _memory_told() -> Iterator[None]:
    """Both runtimes' own errors where there is not enough memory, as Python's."""
    try:
        yield
    except RuntimeError as error:
        if "alloc" in str(error).lower():
            raise MemoryError(str(error)) from error
        raise
