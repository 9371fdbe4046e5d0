"""Pickled arrays come back; whatever else a pickle asks for is refused."""

import os
import pickle

import numpy as np
import pytest

from raindrop.errors import UserError
from raindrop.weights import numpy_pickle


def dump(path, tree):
    path.write_bytes(pickle.dumps(tree, protocol=3))
    return path


def test_arrays_of_every_layout_come_back(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(3, 4, 5)).astype(np.float32)
    tree = {
        "a": {"kernel": numbers, "bias": np.asfortranarray(numbers[0])},
        "big": numbers.astype(">f8"),
        "int": np.arange(5),
        "empty": np.zeros((0, 3), np.float16),
    }
    path = dump(tmp_path / "new.pkl", tree)
    # NumPy before 2.0 called the module by another name.
    old = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pkl").write_bytes(old)
    for name in ("new.pkl", "old.pkl"):
        arrays = numpy_pickle.read(tmp_path / name)
        assert arrays.keys() == {"a/kernel", "a/bias", "big", "int", "empty"}
        np.testing.assert_array_equal(arrays["a/kernel"], numbers)
        np.testing.assert_array_equal(arrays["a/bias"], numbers[0])
        np.testing.assert_array_equal(arrays["big"], tree["big"])
        assert arrays["big"].dtype.isnative
        np.testing.assert_array_equal(arrays["int"], tree["int"])
        assert arrays["empty"].shape == (0, 3)


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_refuses_code_and_what_is_no_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = pickle.dumps({"x": np.zeros(100)}, protocol=3)
    (tmp_path / "cut").write_bytes(whole[:-50])
    (tmp_path / "text").write_text("hello")
    for path, words in (
        (
            dump(tmp_path / "evil", {"x": Evil()}),
            "refused: .* asks for .*system",
        ),
        (dump(tmp_path / "objects", {"x": np.array([None])}), "an array of"),
        (dump(tmp_path / "list", [1, 2]), "in place of arrays"),
        (tmp_path / "cut", "damaged"),
        (tmp_path / "text", "damaged"),
        (tmp_path / "absent", "cannot be read"),
    ):
        with pytest.raises(UserError, match=words):
            numpy_pickle.read(path)
    assert not (tmp_path / "ran").exists()
