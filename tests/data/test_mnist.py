"""Folders of IDX files, and downloads from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import shutil
import struct
import sys
import threading

import numpy as np
import pytest

from backprop_xp.data import mnist
from backprop_xp.data.download import cache_folder, download_files
from backprop_xp.data.mnist import FILES, load_mnist, read_idx_folder
from backprop_xp.errors import DataError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Isolate the tests from the user's cache, settings and proxies."""
    for name in ("BACKPROP_XP_DATA_DIR", "BACKPROP_XP_MNIST_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def small_set(n_train=12, n_test=4, side=2):
    """Return the contents of the four files of a small data set, by name."""
    rng = np.random.default_rng(0)
    contents = {}
    for kind, n in (("train", n_train), ("t10k", n_test)):
        images = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
        labels = (np.arange(n) % 3).astype(np.uint8)
        contents[f"{kind}-images-idx3-ubyte"] = idx_bytes(images)
        contents[f"{kind}-labels-idx1-ubyte"] = idx_bytes(labels)
    return contents


def write_set(folder, contents, spelling="{}", pack=bytes):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / spelling.format(name)).write_bytes(pack(content))
    return folder


# --- folders ---


@pytest.mark.parametrize(("spelling", "pack"), [("{}", bytes), ("{}.gz", gzip.compress)])
@pytest.mark.parametrize("dotted", [False, True])
def test_a_folder_is_read_in_each_spelling_of_its_files(tmp_path, spelling, pack, dotted):
    contents = small_set()
    if dotted:
        contents = {name.replace("-idx", ".idx"): content for name, content in contents.items()}
    dataset = read_idx_folder(write_set(tmp_path / "shapes", contents, spelling, pack))
    assert dataset.name == "shapes"
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (10, 2, 4)
    assert dataset.train.inputs.shape == (10, 4)
    assert dataset.train.targets.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert dataset.validation.targets.tolist() == [1, 2]
    assert dataset.classes == ("0", "1", "2")
    assert dataset.image_shape == (2, 2)
    assert dataset.default_scaling == str(dataset.train.inputs.max())


def test_the_parts_are_views_of_what_was_read(tmp_path):
    dataset = read_idx_folder(write_set(tmp_path, small_set()))
    base = dataset.train.inputs.base
    assert base is not None
    assert dataset.validation.inputs.base is base


def test_a_folder_names_every_file_that_is_missing(tmp_path):
    contents = small_set()
    del contents["train-labels-idx1-ubyte"], contents["t10k-images-idx3-ubyte"]
    with pytest.raises(
        DataError, match="missing: train-labels-idx1-ubyte, t10k-images-idx3-ubyte"
    ) as caught:
        read_idx_folder(write_set(tmp_path, contents))
    assert str(tmp_path) in caught.value.message


def test_pictures_and_labels_of_different_number_name_both_files(tmp_path):
    contents = small_set() | {"train-labels-idx1-ubyte": idx_bytes(np.zeros(9, np.uint8))}
    with pytest.raises(
        DataError, match=r"idx3-ubyte holds 12 images, but .*idx1-ubyte holds 9 labels"
    ):
        read_idx_folder(write_set(tmp_path, contents))


def test_files_under_each_other_s_name_are_noticed(tmp_path):
    contents = small_set()
    first, second, *_ = FILES
    contents[first], contents[second] = contents[second], contents[first]
    with pytest.raises(DataError, match=r"has 1 dimensions, and .* has 3"):
        read_idx_folder(write_set(tmp_path, contents))


def test_parts_with_pictures_of_different_size_are_refused(tmp_path):
    other = small_set(side=3)
    contents = small_set() | {name: other[name] for name in FILES[2:]}
    with pytest.raises(
        DataError, match=r"shape \(2, 2\), but the test images have the shape \(3, 3\)"
    ):
        read_idx_folder(write_set(tmp_path, contents))


def test_a_label_that_was_never_trained_on_is_named(tmp_path):
    contents = small_set() | {"t10k-labels-idx1-ubyte": idx_bytes(np.full(4, 9, np.uint8))}
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte, row 0: the label '9'"):
        read_idx_folder(write_set(tmp_path, contents))


def test_mnist_itself_is_read_whole(real_mnist):
    dataset = load_mnist(real_mnist)
    assert dataset.name == "mnist"
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [split.size for split in splits] == [50_000, 10_000, 10_000]
    assert dataset.classes == tuple("0123456789")
    assert dataset.train.targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    content = dataset.train.inputs.tobytes() + dataset.validation.inputs.tobytes()
    unpacked = struct.pack(">4I", 0x803, 60_000, 28, 28) + content
    assert hashlib.sha256(unpacked).hexdigest() == (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    )


def test_the_registry_is_that_of_the_files_themselves(real_mnist):
    for name in FILES[1:]:  # the training images are often compressed again
        content = (real_mnist / f"{name}.gz").read_bytes()
        assert hashlib.sha256(content).hexdigest() == mnist.SHA256[name]


# --- downloads ---


class Server(http.server.ThreadingHTTPServer):
    """A server of files in memory; ``cut`` removes bytes from the end of every response."""

    def __init__(self):
        self.files, self.cut, self.requests = {}, 0, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/mnist/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/mnist/")
        self.server.requests.append(name)
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server with a small data set in place of MNIST."""
    pytest.importorskip("pooch", reason="pooch is not installed: nothing can be downloaded")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name, content in small_set().items():
            server.files[f"{name}.gz"] = gzip.compress(content, mtime=0)
        hashes = {
            name.removesuffix(".gz"): hashlib.sha256(content).hexdigest()
            for name, content in server.files.items()
        }
        monkeypatch.setattr(mnist, "SHA256", hashes)
        monkeypatch.setenv("BACKPROP_XP_MNIST_URL", server.url)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def registry(server):
    return {name: hashlib.sha256(content).hexdigest() for name, content in server.files.items()}


def test_what_is_missing_is_downloaded_once(server, tmp_path, capfd):
    folder = tmp_path / "new" / "folder"
    assert load_mnist(folder).train.size == 10
    assert sorted(path.name for path in folder.iterdir()) == sorted(server.files)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())
    load_mnist(folder)
    assert len(server.requests) == 4
    assert capfd.readouterr() == ("", "")


def test_only_the_missing_files_are_downloaded(server, tmp_path):
    write_set(tmp_path, {name: small_set()[name] for name in FILES[:2]})
    assert load_mnist(tmp_path).test.size == 4
    assert sorted(server.requests) == sorted(f"{name}.gz" for name in FILES[2:])


def test_without_a_folder_the_environment_names_it_and_else_the_cache(
    server, tmp_path, monkeypatch
):
    load_mnist()
    assert len(list(cache_folder().iterdir())) == 4
    assert cache_folder().is_relative_to(tmp_path) or sys.platform != "linux"
    monkeypatch.setenv("BACKPROP_XP_DATA_DIR", str(tmp_path / "mine"))
    load_mnist()
    assert len(list((tmp_path / "mine").iterdir())) == 4


def test_the_second_address_serves_when_the_first_does_not(server, registry, tmp_path):
    download_files(tmp_path, registry, (server.url + "nowhere/", server.url))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == server.files


def test_a_file_with_the_wrong_content_is_not_kept(server, registry, tmp_path):
    server.files["t10k-labels-idx1-ubyte.gz"] = b"something else"
    with pytest.raises(DataError, match=r"cannot download t10k-labels-idx1-ubyte\.gz .*hash"):
        download_files(tmp_path, registry, [server.url])
    # It is not stored under any name; the correct files before it stay.
    assert {path.name for path in tmp_path.iterdir()} == set(registry) - {
        "t10k-labels-idx1-ubyte.gz"
    }


def test_a_transfer_that_is_cut_off_leaves_nothing_behind(server, registry, tmp_path):
    server.cut = 5
    with pytest.raises(DataError, match=r"cannot download train-images-idx3-ubyte\.gz"):
        download_files(tmp_path, registry, [server.url])
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_the_files_is_named_with_its_answer(server, tmp_path):
    server.files = {}
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: 404 .*Not Found") as caught:
        load_mnist(tmp_path)
    assert server.url in caught.value.message


def test_offline_the_error_says_which_files_to_put_where(tmp_path, monkeypatch):
    pytest.importorskip("pooch", reason="pooch is not installed: nothing can be downloaded")
    with Server() as closed:
        url = closed.url
    monkeypatch.setenv("BACKPROP_XP_MNIST_URL", url)
    with pytest.raises(DataError, match=r"cannot download .*refused") as caught:
        load_mnist(tmp_path)
    for name in FILES:
        assert f"{name}.gz" in caught.value.hint
    assert str(tmp_path) in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_without_pooch_the_error_names_the_extra_and_the_files(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match="needs pooch, which is not installed") as caught:
        load_mnist()
    assert "pip install 'backprop-xp[data]'" in caught.value.hint
    assert str(tmp_path / "cache" / "backprop_xp") in caught.value.hint
    for name in FILES:
        assert f"{name}.gz" in caught.value.hint


def test_without_pooch_files_that_are_there_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("BACKPROP_XP_DATA_DIR", str(write_set(tmp_path / "mine", small_set())))
    assert load_mnist().train.size == 10


def test_a_folder_that_cannot_be_made_is_a_data_error(server, registry, tmp_path):
    path = tmp_path / "file"
    path.write_text("in the way")
    with pytest.raises(DataError, match="file: cannot be written"):
        download_files(path, registry, [server.url])


def test_the_level_of_pooch_s_log_is_given_back(server, tmp_path):
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        load_mnist(tmp_path)
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(level)
        shutil.rmtree(tmp_path)
