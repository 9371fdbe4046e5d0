import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raindrop.models import generator
from raindrop.weights import release

FIELDS = {"attention": {}, "autoencoder": {"dilations": (2, 4, 8, 16)}}


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("size", [(8, 12), (20, 16)])
def test_shapes_and_parameters(size):
    net = generator.from_fields(FIELDS)
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    output, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), image)
    assert count(variables["params"]) == 6_244_362
    assert count(variables["params"]["attention"]) == 167_809
    h, w = size
    assert output.image.shape == (2, h, w, 3)
    assert output.scales[1].shape == (2, h // 2, w // 2, 3)
    assert output.scales[0].shape == (2, h // 4, w // 4, 3)
    assert output.attention.shape == (4, 2, h, w, 1)


def test_unrolled_scan_and_remat_change_nothing():
    image = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    outputs = []
    for options in ({"unroll": True}, {"unroll": False, "remat": True}):
        net = generator.from_fields({**FIELDS, "attention": options})
        variables = net.init(jax.random.key(0), image)
        outputs.append(net.apply(variables, image).image)
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_colour_order_and_range_are_inside():
    """A BGR network on [-1, 1] sees exactly that, and gives back RGB in [0, 1]."""
    image = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    plain = generator.from_fields(FIELDS)
    variables = plain.init(jax.random.key(0), image)
    other = generator.from_fields({**FIELDS, "bgr": True, "signed": True})
    seen = plain.apply(variables, 2 * image[..., ::-1] - 1)
    given = other.apply(variables, image)
    np.testing.assert_allclose(
        given.image, (seen.image[..., ::-1] + 1) / 2, rtol=1e-5, atol=1e-6
    )


def test_residual_of_zero_is_the_input():
    net = generator.from_fields({**FIELDS, "residual": True})
    image = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    variables = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), image))
    np.testing.assert_array_equal(net.apply(variables, image).image, image)


def test_second_picture_is_a_gain_of_the_input():
    """Heads that give 0.1 and, as the gain, -0.5, at every pixel of every patch."""
    autoencoder = {**FIELDS["autoencoder"], "pictures": 2, "relu_heads": False}
    fields = {**FIELDS, "autoencoder": autoencoder, "residual": True, "patch_size": 2}
    net = generator.from_fields(fields)
    image = jax.random.uniform(jax.random.key(1), (1, 16, 8, 3))
    params = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), image)["params"])
    for head in ("output_quarter", "output_half", "output"):
        bias = params["autoencoder"][head]["bias"]
        offset, gain = jnp.split(jnp.ones_like(bias), 2)
        bias = jnp.concatenate([0.1 * offset, -0.5 * gain])
        params["autoencoder"][head]["bias"] = bias
    scales = net.apply({"params": params}, image).scales
    for scale, factor in zip(scales, (4, 2, 1), strict=True):
        given = nn.avg_pool(image, (factor, factor), (factor, factor))
        np.testing.assert_allclose(scale, 0.5 * given + 0.1, atol=1e-6)


def test_gated_changes_nothing_where_the_map_is_zero():
    """And everywhere what the same network without the gate does, times the map."""
    fields = {**FIELDS, "residual": True}
    image = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    free, gated = (generator.from_fields({**fields, "gated": g}) for g in (False, True))
    variables = free.init(jax.random.key(0), image)
    gate = jnp.zeros((1, 16, 16, 1)).at[:, :8].set(jnp.linspace(-1, 2, 16)[:, None])
    correction = free.apply(variables, image, gate, method="restore")[2] - image
    output = gated.apply(variables, image, gate, method="restore")[2]
    np.testing.assert_array_equal(output[:, 8:], image[:, 8:])
    np.testing.assert_allclose(output - image, correction * gate.clip(0, 1), atol=1e-6)
    assert jnp.abs(correction).max() > 1e-3


@pytest.mark.parametrize("size", [(16, 8), (12, 20), (4, 4)])
def test_patches_keep_sizes_and_places(size):
    """A network on patches of pixels; with zero weights and `residual` an identity."""
    fields = {**FIELDS, "residual": True, "patch_size": 2}
    net = generator.from_fields(fields)
    image = jax.random.uniform(jax.random.key(1), (1, *size, 3))
    shapes = jax.eval_shape(net.init, jax.random.key(0), image)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    output = net.apply(zeros, image)
    np.testing.assert_array_equal(output.image, image)
    assert output.attention.shape == (4, 1, *size, 1)
    assert output.scales[0].shape == (1, size[0] // 4, size[1] // 4, 3)

    def there_and_back(module, x):
        return module._from_network(module._to_network(x, 2))

    plain = generator.from_fields({**fields, "residual": False})
    back = nn.apply(there_and_back, plain)({}, image)[:, : size[0], : size[1]]
    np.testing.assert_allclose(back, image, atol=1e-6)


RESIDUAL = {
    "attention": {"steps": 2, "channels": 4, "num_blocks": 1},
    "autoencoder": {
        "kind": "residual",
        "widths": [4, 6, 8],
        "encoder_blocks": [1, 1],
        "decoder_blocks": [1, 1],
        "dilations": [1, 2],
        "pictures": 2,
        "map_channels": 4,
    },
    "patch_size": 2,
    "attention_patch_size": 4,
}


@pytest.mark.parametrize("size", [(16, 16), (20, 12), (4, 28)])
def test_residual_blocks_gate_their_picture_pixel_by_pixel(size):
    """Any multiple of four; where the gate is shut the picture is the input."""
    net = generator.from_fields(RESIDUAL)
    image = jax.random.uniform(jax.random.key(1), (1, *size, 3))
    variables = net.init(jax.random.key(0), image)
    output = net.apply(variables, image)
    assert output.image.shape == image.shape
    assert output.gate.shape == (1, *size, 1)
    assert output.scales[0].shape == (1, size[0] // 4, size[1] // 4, 3)
    assert output.attention.shape == (2, 1, *size, 1)
    bias = variables["params"]["autoencoder"]["output0"]["bias"]
    variables["params"]["autoencoder"]["output0"]["bias"] = bias.at[-4:].set(-100.0)
    shut = net.apply(variables, image)
    np.testing.assert_allclose(shut.image, image, atol=1e-6)


def test_an_overview_judges_what_counts():
    """By it the picture is the input or as without it; nothing else learns by it."""
    fields = {**RESIDUAL, "autoencoder": {**RESIDUAL["autoencoder"], "overview": 4}}
    net, without = generator.from_fields(fields), generator.from_fields(RESIDUAL)
    image = jax.random.uniform(jax.random.key(1), (2, 24, 32, 3))
    params = jax.jit(net.init)(jax.random.key(0), image)["params"]
    judge = params["autoencoder"].pop("overview_of_lowest")
    expected = jax.jit(without.apply)({"params": params}, image)

    @jax.jit
    def run(params, bias):
        inner = {**judge, "logit": {**judge["logit"], "bias": jnp.array([bias])}}
        inner = {**params["autoencoder"], "overview_of_lowest": inner}
        return net.apply({"params": {**params, "autoencoder": inner}}, image)

    dry, wet = (run(params, bias).judged(image) for bias in (-100.0, 100.0))
    np.testing.assert_allclose(dry.image, image, atol=1e-6)
    np.testing.assert_array_equal(dry.gate, jnp.zeros_like(dry.gate))
    np.testing.assert_allclose(wet.image, expected.image, atol=1e-6)
    np.testing.assert_allclose(run(params, 0.0).image, expected.image, atol=1e-6)
    gradients = jax.grad(lambda params: run(params, 0.0).wet.sum())(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_a_pyramid_sees_what_the_smaller_sizes_changed():
    """By weights that ignore it, each size is cleaned as alone; by others, not."""
    image = jax.random.uniform(jax.random.key(1), (1, 32, 64, 3))
    fields = {**RESIDUAL, "attention": {"steps": 0}}
    net, alone = (generator.from_fields({**fields, "pyramid": p}) for p in (1, 0))
    assert net.interface.multiple == 4 * alone.interface.multiple
    params = jax.jit(net.init)(jax.random.key(0), image)["params"]
    kernel = params["autoencoder"]["input"]["kernel"]

    def outputs(network, pictures, kernel):
        inner = {**params["autoencoder"], "input": {"kernel": kernel, "bias": bias}}
        return network.apply({"params": {**params, "autoencoder": inner}}, pictures)

    bias = params["autoencoder"]["input"]["bias"]
    run = jax.jit(outputs, static_argnums=0)
    seeing = run(net, image, kernel)
    ignoring = run(net, image, kernel.at[:, :, -12:].set(0))
    for scale, factor in enumerate((4, 2, 1)):
        small = nn.avg_pool(image, (factor, factor), (factor, factor))
        expected = run(alone, small, kernel[:, :, :-12]).image
        np.testing.assert_allclose(ignoring.scales[scale], expected, atol=1e-6)
        differs = jnp.abs(seeing.scales[scale] - expected).max() > 1e-6
        assert differs == (factor < 4)


def test_bfloat16_computes_close_and_keeps_float32_parameters():
    image = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    full = generator.from_fields(FIELDS)
    variables = full.init(jax.random.key(0), image)
    half = generator.from_fields(FIELDS, dtype=jnp.bfloat16)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
    a, b = full.apply(variables, image).image, half.apply(variables, image).image
    assert b.dtype == jnp.float32
    assert 0 < jnp.abs(a - b).max() < 0.05 * jnp.abs(a).max()


def test_refuses_sizes_that_are_no_multiple_of_four():
    net = generator.from_fields(FIELDS)
    with pytest.raises(ValueError, match="multiples of four"):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 10, 3)))


def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    from torch_twins import Generator

    torch.manual_seed(0)
    twin = Generator()
    image = np.random.default_rng(0).uniform(size=(2, 24, 36, 3)).astype("float32")
    with torch.no_grad():
        maps, *scales = twin(torch.from_numpy(image.transpose(0, 3, 1, 2)))
    params = release.to_flax({k: v.numpy() for k, v in twin.state_dict().items()})
    output = generator.from_fields(FIELDS).apply({"params": params}, image)

    def nhwc(x):
        return x.numpy().transpose(0, 2, 3, 1)

    for ours, theirs in zip(output.attention, maps, strict=True):
        np.testing.assert_allclose(ours, nhwc(theirs), atol=1e-5)
    for ours, theirs in zip(output.scales, scales, strict=True):
        np.testing.assert_allclose(ours, nhwc(theirs), atol=1e-5)
