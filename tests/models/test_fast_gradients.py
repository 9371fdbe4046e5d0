"""The fast gradients against XLA's own: equal, and on a CPU only."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from raindrop.models import generator
from raindrop.models.kernels import convolution, winograd

SETTINGS = settings(max_examples=10, deadline=None, derandomize=True)


def normal(seed, *shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


@partial(jax.jit, static_argnums=0)
def value_and_gradients(function, x, kernel):
    y, pull = jax.vjp(function, x, kernel)
    return y, *pull(normal(2, *y.shape, dtype=y.dtype))


def assert_close(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        scale = jnp.abs(b).max()
        np.testing.assert_allclose(a / scale, b / scale, atol=tolerance)


def assert_plain(shape, features, size, stride, dilation, padding):
    x, kernel = normal(0, *shape), normal(1, size, size, shape[-1], features)

    def convolve(function):
        return lambda x, kernel: function(
            x,
            kernel,
            (stride, stride),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    assert_close(
        value_and_gradients(convolve(convolution.conv_general_dilated), x, kernel),
        value_and_gradients(convolve(lax.conv_general_dilated), x, kernel),
    )


@pytest.mark.parametrize(
    "size, stride, dilation",
    [(3, 1, 1), (5, 1, 1), (3, 1, 2), (3, 1, 16), (3, 2, 1), (5, 4, 1)],
)
def test_the_windows_of_the_networks(size, stride, dilation):
    """With 16 channels XLA has other code than with few (which once read garbage)."""
    pad = dilation * (size // 2)
    pads = [(pad, pad), (pad, pad)]
    assert_plain((4, 16, 16, 16), 16, size, stride, dilation, pads)


@st.composite
def windows(draw):
    """Stride, dilation, kernel and padding as the networks use them, and some more."""
    kernel = draw(st.sampled_from([1, 3, 4, 5]))
    stride = draw(st.sampled_from([1, 2, 4]))
    dilation = draw(st.sampled_from([1, 2, 4, 8, 16])) if stride == 1 else 1
    same = draw(st.booleans())
    pad = dilation * (kernel // 2)
    return kernel, stride, dilation, "SAME" if same else [(pad, pad), (pad, pad)]


@SETTINGS
@given(
    windows(),
    st.integers(1, 2),
    st.sampled_from([4, 7, 33, 70]),
    st.integers(4, 12),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_convolution_is_the_plain_one(window, batch, height, width, channels, features):
    size, stride, dilation, padding = window
    shape = (batch, height, width, channels)
    assert_plain(shape, features, size, stride, dilation, padding)


@pytest.fixture
def tiles(monkeypatch):
    """Takes tiles for every layer that they can do, not only for large ones."""
    monkeypatch.setattr(winograd, "_TILE_PRODUCTS", 0)
    monkeypatch.setattr(winograd, "_TILE_CHANNELS", 1)
    monkeypatch.setattr(winograd, "_TILE_PIXELS", 256)
    # What was traced before, or is traced here, is not for the other tests.
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize(
    "shape, size, dilation, padding",
    [
        ((1, 20, 33, 4), 5, 1, [(2, 2), (2, 2)]),
        ((2, 9, 64, 3), 3, 16, "SAME"),
        ((1, 11, 25, 4), 5, 2, [(1, 6), (3, 2)]),
    ],
)
def test_tiles_are_the_plain_one(shape, size, dilation, padding, tiles):
    text = jax.jit(lambda x, k: convolution._fast(x, k, 1, ((1, 1), (1, 1)), 1))
    text = text.lower(normal(0, *shape), normal(1, 3, 3, shape[-1], 5)).as_text()
    assert "convolution" not in text
    assert_plain(shape, 5, size, 1, dilation, padding)


@settings(SETTINGS, max_examples=4)
@given(st.integers(1, 2), st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_transposed_convolution_is_the_plain_one(batch, height, width, channels):
    x, kernel = normal(0, batch, height, width, channels), normal(1, 4, 4, channels, 3)
    ours = value_and_gradients(
        lambda x, k: convolution.conv_transpose(x, k, (2, 2), "SAME"), x, kernel
    )
    plain = value_and_gradients(
        lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"), x, kernel
    )
    assert_close(ours, plain)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [(jnp.float32, {"remat": True}), (jnp.bfloat16, {"unroll": True})],
)
def test_generator_has_the_plain_gradients(dtype, options):
    """Through the scan and remat; the parameters are the same tree either way."""
    image = jax.random.uniform(jax.random.key(0), (2, 16, 20, 3))

    def gradients(fast):
        net = generator.from_fields(
            {
                "attention": {"steps": 2, "channels": 4, "num_blocks": 1, **options},
                "autoencoder": {"channels": 4, "dilations": (2,)},
            },
            dtype,
            fast,
        )
        params = net.init(jax.random.key(1), image)["params"]

        def loss(params, image):
            return jnp.sum(net.apply({"params": params}, image).image ** 2)

        return jax.jit(jax.grad(loss, (0, 1)))(params, image)

    fast, plain = gradients(True), gradients(False)
    assert jax.tree.structure(fast) == jax.tree.structure(plain)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    assert_close(jax.tree.leaves(fast), jax.tree.leaves(plain), tolerance)


def test_under_vmap():
    x, kernels = normal(0, 2, 1, 9, 8, 3), normal(1, 2, 3, 3, 3, 2)

    def convolve(x, kernel):
        return convolution.conv_general_dilated(x, kernel, (1, 1), "SAME")

    both = jax.vmap(lambda x, k: value_and_gradients(convolve, x, k))(x, kernels)
    for i in range(2):
        alone = value_and_gradients(convolve, x[i], kernels[i])
        assert_close([b[i] for b in both], alone)


def test_other_platforms_keep_their_own(tiles):
    """Lowered for a GPU the program is as without: as many convolutions, no loop.

    No two layers have one shape: those share a function in the program's text.
    """
    x, kernel = normal(0, 1, 64, 64, 4), normal(1, 4, 4, 4, 4)

    def lowered(convolve, platform):
        def gradients(x, kernel):
            return value_and_gradients(convolve, x, kernel)

        traced = jax.jit(gradients).trace(x, kernel)
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        return {
            name: text.count(f"stablehlo.{name}") for name in ("while", "convolution")
        }

    def ours(x, kernel):
        x = convolution.conv_general_dilated(x, kernel[:3, :3], (1, 1), "SAME")
        x = convolution.conv_general_dilated(x, kernel, (2, 2), "SAME")
        return convolution.conv_transpose(x, kernel[..., :3], (2, 2), "SAME")

    def plain(x, kernel):
        options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        x = lax.conv_general_dilated(x, kernel[:3, :3], (1, 1), "SAME", **options)
        x = lax.conv_general_dilated(x, kernel, (2, 2), "SAME", **options)
        return lax.conv_transpose(x, kernel[..., :3], (2, 2), "SAME")

    assert lowered(ours, "cuda") == lowered(plain, "cuda")
    assert lowered(ours, "cuda")["while"] == 0
    assert lowered(ours, "cpu")["while"] > 0
