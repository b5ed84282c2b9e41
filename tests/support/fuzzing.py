"""Damaged and forged files for every reader: small files of each kind, and how they are changed.

`CASES` makes the files; `read` reads one, and tells what the package promises from what it does
not. The short fuzz test and ``scripts/fuzz.py`` share both.
"""

import gzip
import hashlib
import importlib.util
import io
import itertools
import json
import random
import re
import resource
import struct
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from command_line import small_model

import backprop_xp.trace
from backprop_xp import BackpropError, Network, fit, load_dataset, load_model
from backprop_xp.data.preprocessing import fit_preprocessing
from backprop_xp.data.readers.idx import read_idx
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.table import Table
from backprop_xp.models.summary import describe, in_words
from backprop_xp.runs.config_file import read_settings
from backprop_xp.runs.reader import read_run
from backprop_xp.runs.settings import RunSettings
from backprop_xp.runs.train import train
from backprop_xp.trace.examples import read_example
from backprop_xp.training.checkpoint import read_checkpoint

SECONDS, BYTES = 5.0, 1 << 30
"""What reading a file of at most `LARGEST` bytes may take."""

LARGEST = 1 << 16

INTEGERS = (0, 1, -1, 2, 7, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63)
TOKENS = (
    *(b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e999", b"-0.0", b"0.5", b"1e-320"),
    *(
        b'""',
        b"''",
        b'"a"',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\x1b[2J"',
        b"\xff",
        b"\x00",
        b"\xc2\x9b",
    ),
    *(b"[]", b"{}", b"[[]]", b"[1, 2]", b'{"a": 1}', b"[" * 2000, b'{"a":' * 2000, b"9" * 5000),
    *(b"\n", b"\r", b"\t", b",", b";", b'"', b"'", b"=", b"#", b"1979-05-27", b"\xe2\x80\xae"),
    *(
        b"inf",
        b"nan",
        b"0x10",
        b"1_000",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"|V0",
        b"<f8",
        b"|O",
        b"<U9",
    ),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e300, 2**31, 2**63, 10**30, 10**400),
    *("", "a", "0", "nan", "\x00", "\x1b[2J", "\u202e", "\x9b", "x" * 3000),
    *([], [[]], {}, [1, 2], ["a", "a"], [None], {"a": 1}, [[1.0]], [0], [-8, -8], [64]),
)


# --- changes of bytes ---------------------------------------------------------------------------


def mutate(rng: random.Random, content: bytes, other: bytes = b"") -> bytes:
    """Return a content with one to four changes; ``other`` is another content of the same kind."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        content = rng.choice(MUTATIONS)(rng, content, other)[:LARGEST]
    return content


def _place(rng: random.Random, content: bytes) -> int:
    # Headers are at the beginning (or, in ZIP and Parquet, at the end), and matter most.
    n = len(content)
    return rng.choice((rng.randrange(n + 1), rng.randrange(min(n, 64) + 1), n - min(n, 99)))


def _span(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = _place(rng, content)
    return start, min(len(content), start + rng.choice((1, 1, 2, 4, 8, 32, 256)))


def flip_bit(rng: random.Random, content: bytes, other: bytes = b"") -> bytes:
    if not content:
        return b"\x00"
    place = min(_place(rng, content), len(content) - 1)
    changed = bytearray(content)
    changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set_byte(rng: random.Random, content: bytes, other: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + rng.choice((b"\x00", b"\xff", rng.randbytes(1))) + content[place + 1 :]


def _insert(rng: random.Random, content: bytes, other: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + rng.randbytes(rng.choice((1, 2, 8))) + content[place:]


def _delete(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = _span(rng, content)
    return content[:start] + content[end:]


def _truncate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _repeat(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = _span(rng, content)
    return content[:end] + content[start:end] * rng.choice((1, 2, 10, 300)) + content[end:]


def _integer(rng: random.Random, content: bytes, other: bytes) -> bytes:
    place, (size, code) = _place(rng, content), rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    number = rng.choice(INTEGERS) % 2 ** (8 * size)
    packed = struct.pack(rng.choice("<>") + code, number)
    return content[:place] + packed + content[place + size :]


def _number(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return _replaced(rng, content, rb"-?\d+(?:\.\d+)?", str(rng.choice(INTEGERS)).encode())


def _token(rng: random.Random, content: bytes, other: bytes) -> bytes:
    pattern = rb'"(?:[^"\\\n]|\\.)*"|[\w.+-]+|\[[^][]*\]|\{[^{}]*\}'
    return _replaced(rng, content, pattern, rng.choice(TOKENS))


def _line(rng: random.Random, content: bytes, other: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    one = rng.randrange(len(lines))
    change = rng.randrange(3)
    if change == 0:
        lines[one : one + 1] = []
    elif change == 1:
        lines[one:one] = [lines[one]] * rng.choice((1, 2, 50))
    else:
        lines.insert(rng.randrange(len(lines)), lines.pop(one))
    return b"".join(lines)


def _replaced(rng: random.Random, content: bytes, pattern: bytes, new: bytes) -> bytes:
    found = list(itertools.islice(re.finditer(pattern, content), 500))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + new + content[match.end() :]


MUTATIONS = (
    *(flip_bit, _set_byte, _insert, _delete, _truncate, _splice, _repeat),
    *(_integer, _integer, _number, _number, _token, _token, _line),
)


def mutate_json(rng: random.Random, value: Any) -> Any:
    """Return JSON data in which a few values or keys are others, missing, or there twice."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _changed(rng, value)
    return value


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        if isinstance(value, dict):
            key = rng.choice(list(value))
            match rng.randrange(12):
                case 0:
                    return {name: item for name, item in value.items() if name != key}
                case 1:
                    return {**value, rng.choice(("more", "", "\x1b", "__proto__")): 1}
                case _:
                    return {**value, key: _changed(rng, value[key])}
        place = rng.randrange(len(value))
        match rng.randrange(12):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return value[:place] + [value[place]] * 2 + value[place + 1 :]
            case _:
                return [*value[:place], _changed(rng, value[place]), *value[place + 1 :]]
    if type(value) is int and rng.random() < 0.4:
        return rng.choice(INTEGERS)
    return rng.choice(VALUES)


# --- files with a checksum ----------------------------------------------------------------------


def tensor_parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a tensor file."""
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def signed(header: bytes, data: bytes) -> bytes:
    """Return a tensor file with its right hash, whatever it contains."""
    header = re.sub(rb'"sha256": "\w{64}"', b'"sha256": "%b"' % (b"0" * 64), header)
    content = struct.pack("<Q", len(header)) + header + data
    digest = hashlib.sha256(content).hexdigest().encode()
    return content.replace(b'"sha256": "%b"' % (b"0" * 64), b'"sha256": "%b"' % digest, 1)


def forge(rng: random.Random, content: bytes, text: str) -> bytes:
    """Return a tensor file with the right hash but another content.

    ``text`` is the key of the JSON text in its metadata.
    """
    header, data = tensor_parts(content)
    match rng.randrange(6):
        case 0:
            data = mutate(rng, data)
        case 1:
            return signed(mutate(rng, json.dumps(header).encode()), data)
        case 2:
            header = mutate_json(rng, header)
        case 3:
            metadata = header["__metadata__"]
            metadata[text] = mutate(rng, metadata[text].encode()).decode("utf-8", "replace")
        case _:
            metadata = header["__metadata__"]
            metadata[text] = json.dumps(mutate_json(rng, json.loads(metadata[text])))
    head = json.dumps(header).encode()
    return signed(head + b" " * (-len(head) % 8), data)


def zipped(members: dict[str, bytes], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


# --- the cases ----------------------------------------------------------------------------------


class Case(NamedTuple):
    """A reader, and how to make files for it.

    Attributes
    ----------
    name : str
    folder : Path
        Where its files are.
    file : str
        The name of the file that is changed.
    seeds : list of bytes
        Contents that are read without an error.
    make : callable ``(rng) -> bytes``
        Returns a changed content.
    read : callable ``(path) -> object``
    sealed : bool
        Whether only the seeds may be read without an error.
    """

    name: str
    folder: Path
    file: str
    seeds: list[bytes]
    make: Callable[[random.Random], bytes]
    read: Callable[[Path], object]
    sealed: bool = False

    @property
    def path(self) -> Path:
        return self.folder / self.file


def cases(folder: Path) -> list[Case]:
    """Return all cases, with their files in a folder; this trains small networks."""
    return [*_tables(folder), *_arrays(folder), *_texts(folder), *_tensor_files(folder)]


def _case(
    root: Path,
    name: str,
    file: str,
    seeds: list[bytes],
    read: Callable[[Path], object],
    **given: Any,
) -> Case:
    folder = root / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    make = given.pop("make", lambda rng: mutate(rng, rng.choice(seeds), rng.choice(seeds)))
    return Case(name, folder, file, seeds, make, read, **given)


def _gzip_case(
    root: Path, name: str, file: str, seeds: list[bytes], read: Callable[[Path], object]
) -> Case:
    """Return a case of compressed files: in half of them, what was compressed is changed."""
    compress = partial(gzip.compress, compresslevel=1, mtime=0)
    whole = list(map(compress, seeds))

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return compress(mutate(rng, rng.choice(seeds), rng.choice(seeds)))
        return mutate(rng, rng.choice(whole), rng.choice(whole))

    return _case(root, name, file, whole, read, make=make)


def _in_folder(path: Path) -> object:
    return load_dataset(path.parent)


_CSV = [
    b"height,kind,name,label\n" + b"0.5,cat,a b,yes\n1.5,dog,c,no\n,cat,d,yes\n2.25,,e,no\n" * 2,
    b'"a";"b";label\n' + b'"1,5";"x;y";1\n"2,5";"z""q";2\n3;w;1\n4;"line\nbreak";2\n' * 2,
    b"a|b|label\n" + b"4|5|6\n7|8|9\n1|2|6\n" * 3,
    b"date\tprice\tlabel\n" + b"2020-01-01\t$1,200.50\t3\n2020-01-02\t1e3\t4\n" * 4,
    b"a,b,label\r\n" + b"".join(b"%d,%d.5,%d.25\r\n" % (k, 2 * k, k) for k in range(20)),
]


def _tables(root: Path) -> Iterator[Case]:
    read = partial(load_dataset, label="label")
    wide = [text.decode().encode("utf-16") for text in _CSV]
    yield _case(root, "csv", "rows.csv", _CSV, read)
    yield _case(root, "csv utf-16", "rows.csv", wide, read)
    yield _gzip_case(root, "csv gzip", "rows.csv.gz", _CSV, read)
    if importlib.util.find_spec("pyarrow") is None:
        return
    import pyarrow as pa
    from pyarrow import feather, parquet

    table = pa.table(
        {
            "height": [0.5, 1.5, None, 2.5] * 2,
            "count": [1, 2, 3, 4] * 2,
            "kind": pa.array(["cat", "dog", "cat", None] * 2).dictionary_encode(),
            "label": ["yes", "no", "yes", "no"] * 2,
        }
    )
    seeds: dict[str, list[bytes]] = {"parquet": [], "feather": []}
    for names, compressed, by in (
        (table.column_names, "snappy", "lz4"),
        (["height", "count", "label"], "none", "uncompressed"),
        (["count", "kind", "label"], "zstd", "zstd"),
    ):
        file = io.BytesIO()
        parquet.write_table(table.select(names), file, compression=compressed)
        seeds["parquet"].append(file.getvalue())
        file = io.BytesIO()
        feather.write_feather(table.select(names), file, compression=by)
        seeds["feather"].append(file.getvalue())
    for kind, found in seeds.items():
        yield _case(root, kind, f"rows.{kind}", found, read)


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _arrays(root: Path) -> Iterator[Case]:
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    y = np.asarray([0, 1, 2] * 4)
    inputs = [_npy(a) for a in (x, x.astype(">f8"), np.asfortranarray(x), x.reshape(12, 2, 2))]
    inputs += [_npy(x.astype("u1")), _npy(x > 0)]
    targets = [_npy(y.astype(kind)) for kind in ("i8", "u1", "U3", "f8", ">i2")]
    targets += [_npy(y > 1), _npy(x)]
    archives = [
        zipped({"x.npy": one, "y.npy": other}, method)
        for one, other in zip(inputs, targets, strict=False)
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]

    def npz(rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            return mutate(rng, rng.choice(archives), rng.choice(archives))
        parts = {"x.npy": rng.choice(inputs), "y.npy": rng.choice(targets)}
        if rng.random() < 0.2:
            parts |= {"x_test.npy": parts["x.npy"], "y_test.npy": parts["y.npy"]}
        name = rng.choice(list(parts))
        parts[name] = mutate(rng, parts[name], rng.choice(inputs + targets))
        return zipped(parts, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))

    yield _case(root, "npz", "rows.npz", archives, load_dataset, make=npz)
    for name, seeds, beside, other in (
        ("x.npy", inputs, "y.npy", targets[0]),
        ("y.npy", targets, "x.npy", inputs[0]),
    ):
        case = _case(root, name, name, seeds, _in_folder)
        case.folder.joinpath(beside).write_bytes(other)
        yield case
    idx = []
    for array in (x.reshape(12, 2, 2), y, x):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        idx.append(head + array.astype("u1").tobytes())
    yield _case(root, "idx", "images-idx3-ubyte", idx, read_idx)
    yield _gzip_case(root, "idx gzip", "images-idx3-ubyte.gz", idx, read_idx)
    files = {
        "train-images-idx3-ubyte": idx[0],
        "train-labels-idx1-ubyte": idx[1],
        "t10k-images-idx3-ubyte": idx[0],
        "t10k-labels-idx1-ubyte": idx[1],
    }
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        case = _case(root, f"folder of idx, {name[:9]}", name, [files[name]], _in_folder)
        for other_name, content in files.items():
            case.folder.joinpath(other_name).write_bytes(content)
        yield case


_CONFIG = [
    b'data = "digits"\nhidden = [30, 20]\nepochs = 3\nlearning_rate = 0.5\nseed = 1\n'
    b'batch_size = 10\ndropout = [0.1]\nloss = "cross_entropy"\nvalidation_fraction = 0.2\n',
    b'# comment\ndata = \'rows.csv\'\nlabel = """a\nb"""\ndrop = [\n  \'a\', "b\\t\\u00e9"\n]\n'
    b"header = true\nepochs = 1_000\nl2 = 1e-3\n",
]


def _texts(root: Path) -> Iterator[Case]:
    yield _case(
        *(root, "config.toml", "config.toml", _CONFIG),
        lambda path: RunSettings(**read_settings(path)),
    )
    examples = Path(backprop_xp.trace.__file__).parent / "examples"
    sources = [path.read_bytes() for path in sorted(examples.glob("*.toml"))]
    yield _case(
        *(root, "trace", "step.toml", sources), lambda path: read_example(str(path)).trace()
    )
    run = root / "a-run"
    table = {"a": [0.0, 1.0, 2.0, 3.0] * 5, "b": list("xyxz") * 5, "label": list("uvuw") * 5}
    train(table, label="label", hidden=(3,), epochs=3, seed=0, device="cpu", out=run)
    names = ("history.jsonl", "outcome.json", "config.toml")  # the model has cases of its own
    files = {name: (run / name).read_bytes() for name in names}
    for name, content in files.items():
        make = _json_lines(content)
        case = _case(root, f"run, {name}", name, [content], _read_run, make=make)
        for other, beside in files.items():
            case.folder.joinpath(other).write_bytes(beside)
        yield case


def _read_run(path: Path) -> object:
    return read_run(path.parent)


def _json_lines(seed: bytes) -> Callable[[random.Random], bytes]:
    """Return a maker of files whose lines are JSON; other lines are only mutated."""

    def make(rng: random.Random) -> bytes:
        lines = seed.split(b"\n") if seed.startswith(b'{"') else [seed]
        place = rng.randrange(len(lines))
        if rng.random() < 0.5 and lines[place].startswith(b"{"):
            lines[place] = json.dumps(mutate_json(rng, json.loads(lines[place]))).encode()
            return b"\n".join(lines)
        return mutate(rng, seed, seed)

    return make


def _tensor_files(root: Path) -> Iterator[Case]:
    table = Table(
        "a table",
        {
            "height": np.asarray([0.5, np.nan, 1.5]),
            "kind": np.asarray(["cat", "dog", "cat"], dtype=object),
        },
    )
    fitted = fit_preprocessing(table, ["height", "kind"])
    models = []
    for model in (
        small_model(
            (4, 3, 2), ("relu", "softmax"), classes=("0", "1"), label_type="integer", scaling=None
        ),
        small_model((4, 1), image_shape=(2, 2)),
        small_model(
            *((4, 2),),
            **{"preprocessing": fitted, "features": fitted.inputs, "label": ("a", "b")},
            target_scaling=Scaling(np.zeros(2), np.ones(2)),
        ),
    ):
        model.save(root / "seed.safetensors")
        models.append((root / "seed.safetensors").read_bytes())
    rows = ([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0]])
    checkpoints = []
    for number, options in enumerate(
        ({"optimizer": "adam"}, {"validation": rows, "patience": 1, "optimizer": "momentum"})
    ):
        path = root / f"checkpoint-{number}.safetensors"
        fit(Network((2, 2, 1), "tanh"), rows, checkpoint=path, epochs=3, seed=0, **options)
        checkpoints.append(path.read_bytes())
    for name, seeds, read in (
        ("model", models, _use_model),
        ("checkpoint", checkpoints, read_checkpoint),
    ):
        file = f"{name}.safetensors"
        yield _case(root, name, file, seeds, read, sealed=True)
        yield _case(root, f"{name}, a bit", file, seeds, read, make=_one_bit(seeds), sealed=True)
        yield _case(root, f"{name}, forged", file, seeds, read, make=_forged(seeds, name))


def _one_bit(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        content = bytearray(rng.choice(seeds))
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return bytes(content)

    return make


def _forged(seeds: list[bytes], text: str) -> Callable[[random.Random], bytes]:
    return lambda rng: forge(rng, rng.choice(seeds), text)


def _use_model(path: Path) -> object:
    model = load_model(path)
    in_words(describe(model))
    outputs = model.outputs(np.zeros((2, model.network.sizes[0])))
    return model.names(outputs)


# --- reading ------------------------------------------------------------------------------------


class TooSlow(BaseException):
    """A file took more than `SECONDS`; no reader may catch it."""


class Fault(Exception):
    """A file that was read although it must not be, or for which there was not enough memory."""


def read(case: Case, content: bytes) -> str:
    """Write a file, read it, and return ``"ok"`` or the name of the package's exception.

    Raises
    ------
    Exception
        Any other exception or warning than those of the package.
    Fault
        If a damaged file was read, the memory was not enough, or it took too long.
    """
    case.path.write_bytes(content)
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            case.read(case.path)
        result = "ok"
    except BackpropError as error:
        if "memory" in f"{error}":
            raise Fault(f"the file needs more memory than {BYTES:,} bytes: {error}") from error
        result = type(error).__name__
    if (seconds := time.perf_counter() - started) > SECONDS:
        raise Fault(f"the file took {seconds:.1f} s")
    if result == "ok" and case.sealed and content not in case.seeds:
        raise Fault("a damaged file was read without an error")
    return result


@contextmanager
def limited_memory() -> Iterator[None]:
    """Limit the memory of this process to `BYTES` more than it has now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
