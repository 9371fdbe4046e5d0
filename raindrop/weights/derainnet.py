"""The TensorFlow re-implementation's weights (MaybeShewill-CV/attentive-gan-derainnet).

Its network is a set of fields of ours. Two forms are published: a SavedModel, whose
residual blocks are 1x1 convolutions without biases, and a training checkpoint, whose
blocks are 3x3 with biases and one more. Which one it is is found from the variables.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raindrop.errors import UserError
from raindrop.weights.layout import BIAS, HWIO, HWOI, Place, assemble

_STEPS = 4
_ATTENTION = "attentive_rnn_loss/attentive_inference"
_AUTOENCODER = "attentive_autoencoder_loss/autoencoder_inference"
# Of the optimizers.
_TRAINING_ONLY = ("Momentum", "Adam", "Adam_1")
# Versions of the repository between the two published models have them.
_NORMALIZATION = re.compile(r"/(block_\d+_)?(bn|gn)_\d")

_AUTOENCODER_CONVS = {
    **{f"conv_{i}": f"conv{i}" for i in range(1, 11)},
    **{f"dia_conv_{i}": f"dilated{i}" for i in range(1, 5)},
    "skip_ouput_1": "output_quarter",  # sic
    "skip_output_2": "output_half",
    "skip_output_3": "output",
}


def fields(
    num_blocks: int = 5, block_kernel_size: int = 3, use_bias: bool = True
) -> dict[str, Any]:
    """The generator's fields; the defaults are the training checkpoint's form.

    Args:
      num_blocks: residual blocks; 4 in the SavedModel.
      block_kernel_size: of the residual blocks; 1 in the SavedModel.
      use_bias: of the residual blocks; none in the SavedModel.
    """
    return {
        "attention": {
            "steps": _STEPS,
            "channels": 32,
            "num_blocks": num_blocks,
            "block_kernel_size": block_kernel_size,
            "chain_sums": False,
            "share_steps": False,
            "recurrent_hidden": False,
            "sigmoid_map": True,
            "negative_slope": 0.2,
            "use_bias": use_bias,
            "lstm_bias": False,
        },
        "autoencoder": {
            "channels": 64,
            "dilations": (2, 4, 8, 16),
            "widen_at_conv4": False,
            "attention_first": True,
            "relu_heads": False,
            "tanh_output": True,
            "negative_slope": 0.2,
            "use_bias": False,
            "same_padding": True,
        },
        "bgr": True,
        "signed": True,
    }


def read(path: Path) -> tuple[dict[str, Any], Any, list[Path]]:
    """Fields and parameters from a checkpoint or a SavedModel.

    Args:
      path: prefix of a checkpoint, or a SavedModel folder.

    Returns:
      The generator's fields, its parameters, and the files that were read.

    Raises:
      UserError: a file is missing or damaged, or it is another network.
    """
    prefix = path / "variables" / "variables" if path.is_dir() else path
    files = _files(prefix)
    variables = _read_variables(prefix, path)
    normalization = [n for n in variables if _NORMALIZATION.search(n)]
    if normalization:
        raise UserError(
            f"{path} is of a version of attentive-gan-derainnet with normalization "
            f"layers ({normalization[0]}); only those without are known here"
        )
    found = fields(*_form(variables, path))
    return found, assemble(variables, _places(found), found, str(path)), files


def _files(prefix: Path) -> list[Path]:
    """The index and all its shards."""
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise UserError(f"{index} is missing")
    shards = sorted(prefix.parent.glob(f"{prefix.name}.data-*-of-*"))
    if not shards:
        raise UserError(
            f"{prefix}.data-00000-of-00001 is missing beside {index.name}; a "
            "checkpoint is both files"
        )
    count = int(shards[0].name[-5:]) if shards[0].name[-5:].isdigit() else 1
    expected = [Path(f"{prefix}.data-{i:05}-of-{count:05}") for i in range(count)]
    for shard in expected:
        if not shard.is_file():
            raise UserError(f"{shard} is missing: {index.name} has {count} such files")
    return [index, *expected]


def _read_variables(prefix: Path, path: Path) -> dict[str, np.ndarray]:
    """The generator's variables, by name without the scope in front."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        variables = {
            scoped: reader.get_tensor(name)
            for name in names
            if (scoped := _scoped(name))
            and name.rpartition("/")[2] not in _TRAINING_ONLY
        }
    # TensorFlow's reader turns its errors into whatever Python has: IndexError, ...
    except Exception as error:
        line = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UserError(f"{path} is truncated or damaged ({line})") from error
    if not variables:
        shown = ", ".join(names[:3])
        raise UserError(
            f"{path} holds no variables of attentive-gan-derainnet's generator; it has "
            f"{shown or 'nothing'}"
        )
    return variables


def _scoped(name: str) -> str | None:
    match = re.match(f".*?((?:{_ATTENTION}|{_AUTOENCODER})/.*)", name)
    return match[1] if match else None


def _form(variables: Mapping[str, np.ndarray], path: Path) -> tuple[int, int, bool]:
    """Number of residual blocks, their kernel size, and whether they have biases."""
    block = f"{_ATTENTION}/residual_block_1/block_"
    kernel = variables.get(f"{block}1_conv_1/W")
    if kernel is None:
        raise UserError(f"{path}: {block}1_conv_1/W is missing")
    count = sum(
        re.fullmatch(rf"{block}[1-9]\d*_conv_1/W", name) is not None
        for name in variables
    )
    return count, kernel.shape[0], f"{block}1_conv_1/b" in variables


def _places(fields: Mapping[str, Any]) -> dict[str, Place]:
    places = {}
    attention = fields["attention"]
    for step in range(1, attention["steps"] + 1):
        blocks = f"{_ATTENTION}/residual_block_{step}"
        convs = {f"{blocks}/block_0_conv_1": "input"}
        for i in range(1, attention["num_blocks"] + 1):
            for j in (1, 2):
                convs[f"{blocks}/block_{i}_conv_{j}"] = f"block{i}_conv{j}"
        for name, ours in convs.items():
            places[f"{name}/W"] = Place(f"attention/step/{ours}/kernel", step=step)
            if attention["use_bias"]:
                places[f"{name}/b"] = Place(
                    f"attention/step/{ours}/bias", BIAS, step=step
                )
        lstm = f"{_ATTENTION}/conv_lstm_block_{step}"
        for gate in "ifco":
            places[f"{lstm}/conv_{gate}/W"] = Place(
                "attention/step/gates/kernel", step=step
            )
        places[f"{lstm}/attention_map/W"] = Place(
            "attention/step/map/kernel", step=step
        )
    for name, ours in _AUTOENCODER_CONVS.items():
        places[f"{_AUTOENCODER}/{name}/W"] = Place(f"autoencoder/{ours}/kernel", HWIO)
    for i in (1, 2):
        places[f"{_AUTOENCODER}/deconv_{i}/deconv_{i}/kernel"] = Place(
            f"autoencoder/up{i}/conv/kernel", HWOI, flip=True
        )
    return places
