"""Exported to ONNX, networks give in ONNX Runtime what they give in JAX."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_generator
from flax import traverse_util
from jax import lax

from configs import base
from raindrop.errors import UserError
from raindrop.models import generator
from raindrop.weights import (
    PRETRAINED,
    SHIPPED_LICENCE,
    LoadedGenerator,
    derainnet,
    layout,
    release,
)
from raindrop.weights.weight_files import read_generator

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from raindrop.export import jaxpr_to_onnx, network, onnx_file  # noqa: E402


def of_size(fields):
    """A network of its real size, with random weights (He)."""
    rng = np.random.default_rng(0)

    def draw(path, shape):
        scale = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.05
        # Residual blocks add less than they get, or sums grow from block to block.
        scale *= 0.3 if "autoencoder" in path and "_conv2" in path else 1
        return rng.normal(0, scale, shape).astype(np.float32)

    shapes = layout.parameter_shapes(fields)
    leaves = {path: draw(path, shape) for path, shape in shapes.items()}
    params = traverse_util.unflatten_dict(leaves, sep="/")
    return LoadedGenerator(fields, params, "tests")


NETWORKS = {
    "lite": lambda: read_generator(PRETRAINED),
    "release": lambda: of_size(release.FIELDS),
    "base": lambda: of_size(base.get_config().model.generator.to_dict()),
    "derainnet, checkpoint": lambda: of_size(derainnet.fields()),
    "derainnet, SavedModel": lambda: of_size(derainnet.fields(4, 1, False)),
    "residual, gated, on patches": lambda: tiny_generator.loaded(
        residual=True, gated=True, patch_size=2, bgr=True
    ),
    "no attention": lambda: tiny_generator.loaded(attention={"steps": 0}),
}


def session(model):
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)


@pytest.mark.parametrize("name", NETWORKS)
def test_within_a_grey_level_of_jax_at_two_sizes(name):
    loaded = NETWORKS[name]()
    net = generator.from_fields(loaded.fields)
    step = net.interface.multiple
    runs = {
        dtype: session(onnx_file.model(loaded, network.whole(loaded, dtype)))
        for dtype in ("float32", "float16")
    }
    params = {"params": loaded.params}
    reference = jax.jit(lambda image: net.apply(params, image).judged(image))
    rng = np.random.default_rng(1)
    for batch, height, width in ((1, 1, 3), (2, 5, 4)):
        shape = (batch, height * step, width * step, 3)
        image = rng.random(shape, np.float32)
        expected = reference(image)
        for dtype, run in runs.items():
            clean, *maps = run.run(None, {"image": image})
            wanted, most = expected.image, 1e-4  # in float32 it is rounding alone
            if dtype == "float16":
                # Random weights give more than a picture can hold.
                clean, wanted, most = clean.clip(0, 1), wanted.clip(0, 1), 1 / 255
            np.testing.assert_allclose(clean, wanted, rtol=0, atol=most)
            assert len(maps) == min(1, expected.maps.shape[0])
            for one in maps:
                np.testing.assert_allclose(one, expected.maps, rtol=0, atol=most)


def test_the_two_halves_make_the_whole():
    loaded = NETWORKS["residual, gated, on patches"]()
    whole, attend, restore = (
        session(onnx_file.model(loaded, part))
        for part in (network.whole(loaded), *network.halves(loaded))
    )
    image = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)
    clean, maps = whole.run(None, {"image": image})
    (again,) = attend.run(None, {"image": image})
    np.testing.assert_allclose(again, maps[:-1], atol=1e-6)  # the gate is last
    (cleaned,) = restore.run(None, {"image": image, "attention": again[-1]})
    np.testing.assert_allclose(cleaned, clean, atol=1e-6)


def test_the_file_says_what_it_is(tmp_path):
    loaded = read_generator(PRETRAINED)
    path = tmp_path / "new" / "lite.onnx"
    onnx_file.write(loaded, path, "float16")
    assert [p.name for p in path.parent.iterdir()] == ["lite.onnx"]
    # Half as large as float32 would be.
    parameters = sum(leaf.size for leaf in jax.tree.leaves(loaded.params))
    assert path.stat().st_size < 2.2 * parameters
    made = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    properties = made.get_modelmeta().custom_metadata_map
    assert properties["name"] == loaded.source
    assert len(properties["sha256"]) == 64
    multiple = generator.from_fields(loaded.fields).interface.multiple
    assert properties["multiple"] == str(multiple)
    assert properties["licence"] == SHIPPED_LICENCE
    (image,) = made.get_inputs()
    clean, attention = made.get_outputs()
    assert image.shape == clean.shape == ["batch", "height", "width", 3]
    assert attention.shape == [3, "batch", "height", "width", 1]
    assert image.type == clean.type == attention.type == "tensor(float)"


def test_what_cannot_be_written_is_one_line(tmp_path):
    loaded = tiny_generator.loaded()
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        onnx_file.write(loaded, tmp_path / "model.pb", "float32")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        onnx_file.write(loaded, tmp_path / "file" / "model.onnx", "float32")


# The converter by itself: pieces that the networks have, or may have one day.

K = jax.random.normal(jax.random.key(0), (3, 3, 4, 4)) / 6
M = jax.random.normal(jax.random.key(1), (4, 4))


def conv(x, **options):
    options = {"window_strides": (1, 1), "padding": "SAME", **options}
    return lax.conv_general_dilated(
        x, K, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def larger(x, method):
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), method)


def bordered(x, mode):
    return jnp.pad(x, [(0, 0), (2, 1), (1, 2), (0, 0)], mode)


def steps(x):
    def step(carry, kernel):
        carry = jnp.tanh(carry @ kernel) + x
        return carry, carry.mean(-1)

    last, means = lax.scan(step, jnp.zeros_like(x), jnp.stack([M, M.T, -M]))
    return last + means[1][..., None]


def channel_attention(x):
    pooled = x.mean((1, 2), keepdims=True)
    return x * nn.sigmoid(pooled @ M)


def layer_norm(x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-6)


def into_windows(x):
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, 4, channels)
    weights = jax.nn.softmax(jnp.einsum("bnic,bnjc->bnij", x, x))
    return jnp.einsum("bnij,bnjc->bnic", weights, x)


PIECES = {
    "convolution": conv,
    "with a stride": lambda x: conv(x, window_strides=(2, 2), padding=[(1, 1)] * 2),
    "with a stride, TensorFlow's padding": lambda x: conv(x, window_strides=(2, 2)),
    "with dilation": lambda x: conv(x, rhs_dilation=(2, 2)),
    "in groups": lambda x: lax.conv_general_dilated(
        *(x, K[:, :, :1], (1, 1), "SAME"),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    ),
    "transposed": lambda x: lax.conv_transpose(x, K, (2, 2), "SAME"),
    "transposed by four": lambda x: nn.ConvTranspose(4, (4, 4), (2, 2)).apply(
        {"params": {"kernel": jnp.tile(M, (4, 4, 1, 1)), "bias": M[0]}}, x
    ),
    "activations": lambda x: (
        nn.relu(x)
        + nn.leaky_relu(x - 0.5, 0.2) * nn.silu(x)
        + nn.gelu(x)
        - nn.softplus(x) * jnp.clip(x, 0.2, 0.7) ** 3
        + jnp.abs(-x)
    ),
    "mean pooling": lambda x: nn.avg_pool(x, (2, 2), (2, 2)),
    "mean pooling up to the border": lambda x: nn.avg_pool(
        x, (2, 2), padding="SAME", count_include_pad=False
    ),
    "largest": lambda x: nn.max_pool(x, (2, 2), (2, 2)),
    "reflected border": lambda x: bordered(x, "reflect"),
    "symmetric border": lambda x: bordered(x, "symmetric"),
    "repeated border": lambda x: bordered(x, "edge"),
    "cut": lambda x: x[:, 1:-1, :, 1:3] + x[:, 2:, :, 2:],
    "every second": lambda x: x[:, :, 1::2],
    "channels turned": lambda x: x[..., ::-1] + x[..., jnp.array([2, 0, 1, 3])],
    "rows turned": lambda x: x[:, ::-1],
    "larger, linear": lambda x: larger(x, "linear"),
    "larger, cubic": lambda x: larger(x, "cubic"),
    "larger, nearest": lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2),
    "loop": steps,
    "attention over channels": channel_attention,
    "normalization": layer_norm,
    "attention in windows": into_windows,
    "depth to space": lambda x: jnp.concatenate([x, 2 * x], -1).reshape(
        *x.shape[:2], -1, 2
    ),
    "recomputed": jax.checkpoint(lambda x: jnp.sin(conv(x)) ** 2),
}


@pytest.mark.parametrize("piece", PIECES)
def test_pieces_of_networks(piece):
    function = PIECES[piece]
    batch, height, width = jax.export.symbolic_shape(
        "b, 4*h, 4*w", constraints=["b >= 1", "h >= 1", "w >= 1"]
    )
    spec = jax.ShapeDtypeStruct((batch, height, width, 4), jnp.float32)
    rank = len(jax.eval_shape(function, spec).shape)
    model = jaxpr_to_onnx.convert(
        jaxpr_to_onnx.trace(lambda x: (function(x),), spec),
        {"x": ("b", "h", "w", 4)},
        {"y": tuple(f"d{i}" for i in range(rank))},
        "piece",
    )
    run = session(model)
    for shape in ((1, 4, 8, 4), (3, 12, 8, 4)):
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        (y,) = run.run(None, {"x": x})
        np.testing.assert_allclose(y, function(x), rtol=1e-4, atol=1e-5)


def test_a_computation_without_a_rule_is_named(monkeypatch):
    loaded = tiny_generator.loaded()
    whole = network.whole(loaded)
    sorting = network.dataclasses.replace(
        whole, function=lambda image: (jnp.sort(image, 1), image)
    )
    with pytest.raises(UserError, match=r"JAX's sort.*--format=stablehlo"):
        onnx_file.model(loaded, sorting)
