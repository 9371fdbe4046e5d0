import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from raindrop.errors import UserError
from raindrop.weights import torch_file

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


def short(text):
    """A byte string as Python 2 pickles it."""
    return b"U" + bytes([len(text)]) + text.encode()


def old_tensor(key, kind, size, offset, shape, stride, view=b"N"):
    def ints(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    storage = short("storage") + f"ctorch.cuda\n{kind}\n".encode() + short(key)
    storage += short("cuda:0") + b"J" + struct.pack("<i", size) + view
    return (
        b"ctorch._utils\n_rebuild_tensor\n((" + storage + b"tQ"
        b"J" + struct.pack("<i", offset) + ints(shape) + ints(stride) + b"tR"
    )


def old_file(tensors, storages):
    """What PyTorch 0.3.1 wrote under Python 2 on a GPU, byte by byte."""
    items = b"".join(b"](" + short(k) + v + b"e" for k, v in tensors.items())
    tree = b"\x80\x02ccollections\nOrderedDict\n(](" + items + b"etR."
    head = [pickle.dumps(x, 2) for x in (MAGIC, 1001, SYSTEM)]
    data = [struct.pack("<q", s.size) + s.tobytes() for s in storages.values()]
    return b"".join([*head, tree, pickle.dumps(list(storages), 2), *data])


def test_reads_cuda_tensors_of_python_2(tmp_path):
    numbers = np.arange(12, dtype="float32")
    halves = np.arange(3, dtype="float16")
    # (key, offset, size): a storage that is itself a part of another.
    view = b"(" + short("view") + b"K\x04K\x08t"
    tensors = {
        "whole": old_tensor("7", "FloatStorage", 12, 0, (3, 4), (4, 1)),
        "turned": old_tensor("7", "FloatStorage", 12, 1, (4, 2), (1, 4)),
        "part": old_tensor("7", "FloatStorage", 12, 1, (2,), (1,), view),
        "half": old_tensor("8", "HalfStorage", 3, 0, (3,), (1,)),
    }
    path = tmp_path / "gen.pkl"
    path.write_bytes(old_file(tensors, {"7": numbers, "8": halves}))
    arrays = torch_file.read(path)
    assert list(arrays) == list(tensors)
    np.testing.assert_array_equal(arrays["whole"], numbers.reshape(3, 4))
    np.testing.assert_array_equal(arrays["turned"], [[1, 5], [2, 6], [3, 7], [4, 8]])
    np.testing.assert_array_equal(arrays["part"], [5, 6])
    assert arrays["half"].dtype == np.float16


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_writes(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(2, 3, 4)
    state = OrderedDict(
        base=base,
        turned=base.permute(2, 0, 1),
        strided=base[1, ::2, 1:],
        parameter=torch.nn.Parameter(base[0]),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(7),
        double=torch.tensor([0.1], dtype=torch.float64),
        bfloat16=torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        bool=torch.tensor([True, False]),
        byte=torch.tensor([255], dtype=torch.uint8),
    )
    path = tmp_path / "state.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    arrays = torch_file.read(path)
    assert arrays.keys() == state.keys()
    for name, tensor in state.items():
        wanted = tensor.detach().to(torch.float32) if name == "bfloat16" else tensor
        wanted = wanted.detach().numpy()
        assert arrays[name].dtype == wanted.dtype
        np.testing.assert_array_equal(arrays[name], wanted)

    wrapped = {f"module.{k}": v for k, v in state.items()}
    torch.save(
        {"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": wrapped},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert torch_file.read(path).keys() == state.keys()


class Attack:
    """Makes a folder when unpickled by somebody who trusts it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def infected(attack, place):
    dumps = [pickle.dumps(x, 2) for x in (MAGIC, 1001, SYSTEM, {}, [])]
    if place == "plain":
        return pickle.dumps(attack)
    if place == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"a": attack}))
        return file.getvalue()
    dumps[place] = pickle.dumps([attack], 2)
    return b"".join(dumps)


@pytest.mark.parametrize("place", ["plain", "zip", 1, 2, 3, 4])
def test_refuses_code_by_name_and_runs_none(tmp_path, place):
    data = infected(Attack(tmp_path / "owned"), place)
    path = tmp_path / "gen.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"refused: .* asks for (posix|nt)\.mkdir"):
        torch_file.read(path)
    assert not (tmp_path / "owned").exists()
    # The attack is real: trusted, it does run.
    if place == "plain":
        pickle.loads(data)
        assert (tmp_path / "owned").exists()


def test_refuses_names_inside_what_it_allows(tmp_path):
    path = tmp_path / "gen.pkl"
    # STACK_GLOBAL with a dotted name reaches attributes of an allowed class.
    path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93)R.")
    with pytest.raises(UserError, match=r"collections\.OrderedDict\.fromkeys"):
        torch_file.read(path)


def test_refuses_a_whole_module(tmp_path):
    torch = pytest.importorskip("torch")
    for zipped in (True, False):
        path = tmp_path / "model.pth"
        module = torch.nn.Linear(2, 2)
        torch.save(module, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"torch\.save\(module\.state_dict"):
            torch_file.read(path)


def test_refuses_tensors_beyond_their_storage(tmp_path):
    numbers = np.zeros(4, "float32")
    for offset, shape, stride in (
        (2, (3,), (1,)),  # past the end
        (0, (2,), (-1,)),  # before the start
        (0, (10**9,), (0,)),  # four bytes that claim four gigabytes
    ):
        tensor = old_tensor("7", "FloatStorage", 4, offset, shape, stride)
        path = tmp_path / "gen.pkl"
        path.write_bytes(old_file({"a": tensor}, {"7": numbers}))
        with pytest.raises(UserError, match="damaged"):
            torch_file.read(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_anywhere_is_one_line(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    whole, cut = tmp_path / "whole.pth", tmp_path / "cut.pth"
    state = {"a": torch.zeros(50), "b": torch.ones(3, 5)}
    torch.save(state, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    for length in range(0, len(data) - 1, 37):
        cut.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"truncated|damaged") as error:
            torch_file.read(cut)
        assert "\n" not in str(error.value)
