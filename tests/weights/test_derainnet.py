"""The TensorFlow variant against ../shared/parity and against its graph."""

import ast
import hashlib
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import derainnet as config_derainnet
from raindrop.errors import UserError
from raindrop.models import generator
from raindrop.weights import derainnet
from raindrop.weights.weight_files import read_generator

PARITY = Path(__file__).parents[3] / "shared" / "parity"
SCOPE = "derain_net/attentive_rnn_loss/attentive_inference"


def value(name, shape):
    """As ../shared/parity/README.md draws them."""
    digest = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng([0, digest])
    if len(shape) < 2:
        return rng.normal(0, 0.05, shape).astype("float32")
    fan_in = 4 * shape[-1] if "deconv" in name else int(np.prod(shape[:-1]))
    return (rng.normal(0, 1, shape) * np.sqrt(1.5 / fan_in)).astype("float32")


def listed(name):
    path = PARITY / name
    if not path.exists():
        pytest.skip("needs ../shared/parity")
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {name: ast.literal_eval(shape) for name, shape, *_ in lines}


def write(prefix, variables):
    tf = pytest.importorskip("tensorflow")
    names = list(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(v) for v in variables.values()],
    )


def write_saved_model(folder, variables):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    write(folder / "variables" / "variables", variables)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The 300 variables of the published checkpoint; the optimizers' are zero."""
    variables = {}
    for name, shape in listed("derainnet_checkpoint_variables.txt").items():
        slot = name.endswith(("Momentum", "Adam", "Adam_1"))
        variables[name] = np.zeros(shape, "float32") if slot else value(name, shape)
    variables["Variable"] = np.int32(100000)
    assert len(variables) == 300
    prefix = tmp_path_factory.mktemp("tf") / "derain_gan.ckpt-100000"
    write(prefix, variables)
    return prefix, variables


def attention_in_tensorflow(variables, image):
    """The recurrence of the published code, with the variables of the 3x3 form."""
    tf = pytest.importorskip("tensorflow")

    def conv(x, name):
        y = tf.nn.conv2d(x, variables[f"{SCOPE}/{name}/W"], 1, "SAME")
        return y + variables.get(f"{SCOPE}/{name}/b", 0.0)

    def lrelu(x):
        return tf.nn.leaky_relu(x, 0.2)

    attention = tf.fill((*image.shape[:3], 1), 0.5)
    cell, maps = 0.0, []
    for step in range(1, 5):
        block, lstm = f"residual_block_{step}/block_", f"conv_lstm_block_{step}"
        x = lrelu(conv(tf.concat([image, attention], -1), f"{block}0_conv_1"))
        shortcut = x
        for i in range(1, 6):
            # The sum is not what the next block sees.
            x = lrelu(conv(x, f"{block}{i}_conv_1"))
            x = lrelu(conv(x, f"{block}{i}_conv_2"))
            shortcut = lrelu(x + shortcut)
        i, f, c, o = (conv(shortcut, f"{lstm}/conv_{gate}") for gate in "ifco")
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
        attention = tf.sigmoid(
            conv(tf.sigmoid(o) * tf.tanh(cell), f"{lstm}/attention_map")
        )
        maps.append(attention.numpy())
    return np.stack(maps)


def test_saved_model_agrees_with_the_published_graph(tmp_path):
    shapes = listed("derainnet_savedmodel_variables.txt")
    expected = np.load(PARITY / "derainnet_seed0.npz")
    folder = tmp_path / "derain_gan_saved_model"
    write_saved_model(folder, {n: value(n, s) for n, s in shapes.items()})
    loaded = read_generator(folder)
    assert loaded.fields == derainnet.fields(4, 1, False)

    seen = np.random.default_rng(0).uniform(-1, 1, (1, 240, 360, 3)).astype("float32")
    net = generator.from_fields(loaded.fields)
    rainy = (seen[..., ::-1] + 1) / 2  # the API: RGB in [0, 1]
    output = jax.jit(net.apply)({"params": loaded.params}, rainy)
    sigmoid = 1 / (1 + np.exp(-expected["attention"]))
    np.testing.assert_allclose(output.attention[:, 0], sigmoid, atol=1e-4)
    given = 2 * output.image[0, ..., ::-1] - 1
    np.testing.assert_allclose(given, expected["output"], atol=1e-4)


def test_config_trains_the_saved_models_network():
    config = config_derainnet.get_config()
    trained = generator.complete(config.model.generator.to_dict())
    assert trained == generator.complete(derainnet.fields(4, 1, False))


def test_checkpoint_of_300_variables_agrees_with_its_graph(checkpoint):
    prefix, variables = checkpoint
    loaded = read_generator(prefix)
    assert loaded.fields == derainnet.fields(5, 3, True)
    image = np.random.default_rng(0).uniform(size=(1, 16, 20, 3)).astype("float32")
    output = jax.jit(generator.from_fields(loaded.fields).apply)(
        {"params": loaded.params}, image
    )
    seen = 2 * image[..., ::-1] - 1
    expected = attention_in_tensorflow(variables, seen)
    np.testing.assert_allclose(output.attention, expected, atol=1e-5)
    # Any of its files means the checkpoint, and so does its folder.
    for other in (f"{prefix}.index", f"{prefix}.meta", prefix.parent):
        assert read_generator(other).sha256 == loaded.sha256 != ""


def test_missing_and_damaged_files_are_named(checkpoint, tmp_path):
    prefix, _ = checkpoint
    index, shard = f"{prefix}.index", f"{prefix}.data-00000-of-00001"
    cut = tmp_path / "model.ckpt-1"

    def copy(source, suffix, size=None):
        Path(f"{cut}{suffix}").write_bytes(Path(source).read_bytes()[:size])

    copy(index, ".index")
    with pytest.raises(UserError, match=r"data-00000-of-00001 is missing"):
        read_generator(cut)
    copy(shard, ".data-00000-of-00002", 10)
    with pytest.raises(UserError, match=r"data-00001-of-00002 is missing"):
        read_generator(cut)
    Path(f"{cut}.data-00000-of-00002").unlink()
    copy(shard, ".data-00000-of-00001", 1_000_000)
    with pytest.raises(UserError, match=r"truncated or damaged") as error:
        read_generator(cut)
    assert "\n" not in str(error.value)
    Path(f"{cut}.index").unlink()
    with pytest.raises(UserError, match=r"model\.ckpt-1\.index is missing"):
        read_generator(cut)


def test_other_variables_say_what_they_are(tmp_path):
    shapes = listed("derainnet_savedmodel_variables.txt")
    good = {name: np.zeros(shape, "float32") for name, shape in shapes.items()}
    first = f"{SCOPE}/residual_block_1/block_0_conv_1/W"
    lstm = f"{SCOPE}/conv_lstm_block_3/conv_i"
    for i, (changes, words) in enumerate(
        (
            (
                {first: np.zeros((5, 5, 4, 32), "float32")},
                r"block_0_conv_1/W has the shape \(5, 5, 4, 32\); .* \(3, 3, 4, 32\)",
            ),
            ({f"{lstm}/W": None}, r"conv_i/W is missing"),
            ({f"{lstm}/b": np.zeros(32, "float32")}, r"conv_i/b is not of this"),
            (
                {f"{SCOPE}/residual_block_1/block_1_bn_1/beta": np.zeros(1, "float32")},
                r"normalization",
            ),
        )
    ):
        changed = {n: v for n, v in {**good, **changes}.items() if v is not None}
        write_saved_model(tmp_path / str(i), changed)
        with pytest.raises(UserError, match=words):
            read_generator(tmp_path / str(i))
    write(tmp_path / "other.ckpt", {"dense/kernel": np.zeros((2, 2), "float32")})
    with pytest.raises(UserError, match=r"no variables of attentive-gan-derainnet"):
        read_generator(tmp_path / "other.ckpt")
