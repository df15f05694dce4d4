import numpy as np
import torch

from analysis.arrays import load_about, load_arrays, save_arrays, to_arrays


def test_one_transfer_keeps_shapes_and_values():
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(2), "c": torch.zeros(0, 4)}
    arrays = to_arrays(tensors)
    assert {name: value.shape for name, value in arrays.items()} == {"a": (2, 3), "b": (), "c": (0, 4)}
    assert arrays["a"].dtype == np.float64 and arrays["a"][1, 2] == 5 and arrays["b"] == 2


def test_files_are_read_for_the_same_only(tmp_path):
    arrays, about = {"x": np.arange(3), "names": np.array(["é", "b"])}, {"seed": 1}
    save_arrays(tmp_path / "a.npz", arrays, about)
    save_arrays(tmp_path / "b.npz", arrays, about)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = load_arrays(tmp_path / "a.npz", about)
    assert found is not None and found["names"].tolist() == ["é", "b"] and set(found) == {"x", "names"}
    assert load_arrays(tmp_path / "a.npz", {"seed": 2}) is None
    assert load_about(tmp_path / "a.npz") == about and load_about(tmp_path / "absent.npz") == {}
    assert load_arrays(tmp_path / "absent.npz", about) is None
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    assert load_arrays(tmp_path / "cut.npz", about) is None
    assert load_about(tmp_path / "cut.npz") == {}
    (tmp_path / "empty.npz").write_bytes(b"")
    assert load_arrays(tmp_path / "empty.npz", about) is None
