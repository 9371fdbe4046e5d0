import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.models import generator
from raindrop.weights import PRETRAINED, generators, release, safetensors_file
from raindrop.weights.weight_files import read_generator


@pytest.fixture(scope="module")
def release_file(tmp_path_factory):
    """Random weights in a file as PyTorch 0.3.1 wrote them, and the PyTorch network."""
    torch = pytest.importorskip("torch")
    from torch_twins import Generator

    torch.manual_seed(0)
    twin = Generator()
    with torch.no_grad():  # a picture with contrast, and with a colour of its own
        twin.output[0].weight.mul_(5)
        twin.output[0].bias.copy_(torch.tensor([0.2, 0.5, 0.8]))
    path = tmp_path_factory.mktemp("release") / "gen.pkl"
    torch.save(twin.state_dict(), path, _use_new_zipfile_serialization=False)
    return path, twin


@pytest.fixture(scope="module")
def picture():
    """An orange that is nothing like its mirror in BGR, with some structure."""
    noise = np.random.default_rng(0).uniform(0, 0.3, (1, 24, 36, 3))
    return (noise + np.array([0.7, 0.35, 0])).astype("float32")


def apply(loaded, image):
    net = generator.from_fields(loaded.fields)
    return jax.jit(net.apply)({"params": loaded.params}, image)


def test_release_gives_what_pytorch_gives_and_sees_bgr(release_file, picture, tmp_path):
    import torch

    path, twin = release_file
    loaded = read_generator(path)
    ours = apply(loaded, picture)

    def run(image):
        with torch.no_grad():
            maps, *scales = twin(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
        nhwc = [[x.numpy().transpose(0, 2, 3, 1) for x in xs] for xs in (maps, scales)]
        return np.stack(nhwc[0]), nhwc[1]

    maps, scales = run(picture[..., ::-1])  # cv2.imread gives the release BGR
    np.testing.assert_allclose(ours.attention, maps, atol=1e-5)
    for mine, theirs in zip(ours.scales, scales, strict=True):
        np.testing.assert_allclose(mine, theirs[..., ::-1], atol=1e-5)

    pictures.write_image(tmp_path / "clean.png", np.asarray(ours.image[0]))
    decoded = np.asarray(Image.open(tmp_path / "clean.png"), int)
    released = np.clip(255 * scales[-1][0, ..., ::-1], 0, 255).astype(int)
    assert np.abs(decoded - released).max() <= 1
    # RGB, fed as it is, gives something else: the test above can fail.
    assert np.abs(run(picture)[0] - maps).max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 5e-3)])
def test_safetensors_keeps_the_network_and_its_output(
    release_file, picture, tmp_path, dtype, tolerance
):
    first = read_generator(release_file[0])
    output = tmp_path / "new" / "generator.safetensors"
    safetensors_file.write(first, output, dtype)
    assert [p.name for p in output.parent.iterdir()] == [output.name]
    second = read_generator(output)
    assert generator.from_fields(second.fields) == generator.from_fields(first.fields)
    assert second.fields["bgr"] is True
    assert (second.source, second.sha256) == (first.source, first.sha256)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(second.params))
    expected = apply(first, picture).image
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        apply(second, picture).image, expected, atol=tolerance * scale
    )


def test_safetensors_needs_neither_tensorflow_nor_torch(release_file, tmp_path):
    path = tmp_path / "generator.safetensors"
    safetensors_file.write(read_generator(release_file[0]), path, "float32")
    code = (
        "import sys; from raindrop.weights.weight_files import read_generator; "
        f"read_generator({str(path)!r}); read_generator({str(release_file[0])!r}); "
        "sys.exit(bool({'tensorflow', 'torch', 'keras'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_writing_refuses_what_it_cannot_keep(release_file, tmp_path):
    loaded = read_generator(release_file[0])
    with pytest.raises(UserError, match=r"end in \.safetensors"):
        safetensors_file.write(loaded, tmp_path / "generator.pth", "float32")
    large = jax.tree.map(lambda x: x + 1e6, loaded.params)
    large = dataclasses.replace(loaded, params=large)
    with pytest.raises(UserError, match="float16 cannot hold"):
        safetensors_file.write(large, tmp_path / "g.safetensors", "float16")
    assert not list(tmp_path.iterdir())


def test_damaged_safetensors(release_file, tmp_path):
    path = tmp_path / "generator.safetensors"
    safetensors_file.write(read_generator(release_file[0]), path, "float16")
    data = path.read_bytes()
    for length in (100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="truncated or damaged"):
            read_generator(path)


def tensors_of_release():
    from raindrop.weights.layout import parameter_shapes

    shapes = parameter_shapes(release.FIELDS)
    tensors = {}
    for name, slot in release.PLACES.items():
        shape = list(shapes[slot.path])
        if slot.path.startswith("attention/step/gates"):
            shape[-1] //= 4
        shape = [shape[slot.axes.index(axis)] for axis in range(len(shape))]
        tensors[name] = np.zeros(shape, "float32")
    return tensors


def resnet(blocks, bottleneck):
    names = [
        f"layer{stage}.{i}.conv{j}.weight"
        for stage, count in enumerate(blocks, start=1)
        for i in range(count)
        for j in range(1, 4 if bottleneck else 3)
    ]
    return {
        name: np.zeros((1, 1, 1, 1), "float32") for name in ["conv1.weight", *names]
    }


def vgg(indices):
    return {f"features.{i}.weight": np.zeros((1, 1, 3, 3), "float32") for i in indices}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (resnet((3, 4, 6, 3), True), r"these are ResNet-50 weights"),
        (resnet((2, 2, 2, 2), False), r"these are ResNet-18 weights"),
        (resnet((3, 4, 6, 3), False), r"these are ResNet-34 weights"),
        (
            vgg((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
            r"these are VGG-16 weights.*--config\.vgg\.weights",
        ),
        (
            {"conv_mask.0.weight": np.zeros((1, 128, 5, 5), "float32")},
            r"attentive GAN discriminator weights",
        ),
        ({"fc1.weight": np.zeros((2, 2), "float32")}, r"not known here \(fc1\.weight"),
        (
            {**tensors_of_release(), "conv4.0.bias": np.zeros(128, "float32")},
            r"conv4\.0\.bias has the shape \(128,\); the network's has \(256,\)",
        ),
        (
            {**tensors_of_release(), "deconv1.0.weight": np.zeros((128, 256, 4, 4))},
            r"deconv1\.0\.weight has the shape .*; .* has \(256, 128, 4, 4\)",
        ),
        (
            {**tensors_of_release(), "conv_f.0.weight": np.zeros((32, 32, 3, 3))},
            r"conv_f\.0\.weight has the shape .*; .* has \(32, 64, 3, 3\)",
        ),
        (
            {**tensors_of_release(), "conv11.0.bias": np.zeros(3)},
            r"conv11\.0\.bias is not of this network",
        ),
        (
            dict(list(tensors_of_release().items())[2:]),
            r"det_conv0\.0\.weight \(and 1 more\) is missing",
        ),
    ],
)
def test_other_weights_say_what_they_are(tensors, words, tmp_path):
    # The container does not matter, and neither does the extension.
    path = tmp_path / "weights.pkl"
    save_file(tensors, path)
    with pytest.raises(UserError, match=words):
        read_generator(path)


def test_what_is_no_weight_file_says_so(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for i, (content, words) in enumerate(
        (
            (pointer, "Git LFS"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"", "is empty"),
            (b"hello", "damaged, or no PyTorch weight file"),
        )
    ):
        path = tmp_path / f"{i}.pkl"
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            read_generator(path)
    with pytest.raises(UserError, match="No such file"):
        read_generator(tmp_path / "absent.pkl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder without weights"):
        read_generator(tmp_path / "folder")


def test_weights_that_come_with_it_go_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = generators.load_generator(PRETRAINED.stem)
    assert loaded.sha256 == generators.load_generator(PRETRAINED).sha256
    with pytest.raises(UserError, match=f"nowhere cannot be read.*{PRETRAINED.stem}"):
        generators.load_generator("nowhere")
    # What is there has its own meaning.
    (tmp_path / PRETRAINED.stem).mkdir()
    with pytest.raises(UserError, match="folder without weights"):
        generators.load_generator(PRETRAINED.stem)
