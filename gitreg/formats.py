"""What a model file is, by its content: format, framework, and whether loading it runs code. No I/O.

Names and extensions are hints for people and prove nothing: a pickle that is called `model.onnx` is
seen as the pickle it is. Content is asked for piece by piece through a function, so that a file of any
size costs a few reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from gitreg import endings, opcodes, protobufs
from gitreg.protobufs import At

HEAD = 64 << 10
_MOST_HEADER = 100 << 20
_READ_HEADER = 8 << 20
_MOST_PROLOGUE = 100
# No file is larger; what a header promises may be a number of thousands of digits.
_MOST_PROMISED = 1 << 64

RUNS_CODE, DATA_ONLY, CANNOT_TELL = "runs code when loaded", "data only", "cannot tell"


@dataclass(frozen=True)
class Format:
    """One serialization format.

    Attributes:
        name: as people call it.
        key: as policies and JSON say it.
        type: the manifest's `type`.
        framework: what reads it.
        runs_code: whether loading it may run code of the file's author, as far as one has to assume.
        extensions: the usual ones.
        recognised: by what, in words.
        certain: whether `runs_code` is known, and not assumed.
    """

    name: str
    key: str
    type: str
    framework: str
    runs_code: bool
    extensions: tuple[str, ...] = ()
    recognised: str = ""
    certain: bool = True

    @property
    def may_run_code(self) -> bool:
        """Whether it has to be counted as running code: it does, or nobody can tell."""
        return self.runs_code or not self.certain


def _format(key: str, kind: str, name: str, reads: str, code: bool, endings: str, by: str) -> Format:
    return Format(name, key, kind, reads, code, tuple(endings.split()), by)


_SKLEARN, _TORCH, _PLAIN = "scikit-learn", "pytorch", "custom-python"
_PICKLES = ".pkl .pickle .joblib .p .sav .gz .gzip .z .zlib .bz2 .xz .lzma .lz4"
# fmt: off
PICKLE = _format("pickle", _SKLEARN, "pickle", "pickle or joblib",
    True, _PICKLES, "opcodes of protocol 0 to 5, also inside of zlib, gzip, bz2, xz, lzma or lz4")
TORCH_PICKLE = _format("pytorch-pickle", _TORCH, "PyTorch state (zip of a pickle)", "PyTorch", True,
    ".pt .pth .bin .ckpt", "a zip with */data.pkl and no */code/")
TORCH_LEGACY = _format("pytorch-legacy", _TORCH, "PyTorch state (legacy pickle)", "PyTorch", True,
    ".pt .pth .bin .ckpt .tar", "a pickle of 0x1950a86a20f9469cfc6c first")
TORCHSCRIPT = _format("torchscript", _TORCH, "TorchScript", "PyTorch", True,
    ".pt .pth .ts .torchscript .ptl", "a zip with */data.pkl and */code/")
TORCH_EXPORT = _format("torch-export", _TORCH, "torch.export program", "PyTorch", True, ".pt2",
    "a zip with */archive_format and */models/, or with serialized_exported_program.json")
ONNX = _format("onnx", "onnx", "ONNX", "ONNX Runtime", False, ".onnx .ort",
    "protobuf of ModelProto's fields, in any order, with a graph")
SAFETENSORS = _format("safetensors", "huggingface", "safetensors", "safetensors", False, ".safetensors",
    "8 bytes of length, then a JSON header of that length")
HDF5 = _format("hdf5", "keras", "HDF5", "Keras", True, ".h5 .hdf5 .hdf", "\\x89HDF\\r\\n\\x1a\\n")
KERAS = _format("keras", "keras", "Keras (.keras)", "Keras", True, ".keras", "a zip with metadata.json")
SKOPS = _format("skops", _SKLEARN, "skops", "skops", False, ".skops", "a zip with schema.json")
NPZ = _format("npz", _PLAIN, "NumPy .npz", "NumPy", False, ".npz", "a zip of nothing but .npy")
NPZ_OBJECTS = _format("npz-objects", _PLAIN, "NumPy .npz of pickled objects", "NumPy with allow_pickle",
    True, ".npz", "a zip of nothing but .npy, one of which holds objects")
NPY = _format("npy", _PLAIN, "NumPy .npy", "NumPy", False, ".npy", "\\x93NUMPY")
NPY_OBJECTS = _format("npy-objects", _PLAIN, "NumPy .npy of pickled objects", "NumPy with allow_pickle",
    True, ".npy", "\\x93NUMPY and a descr with O")
XGBOOST_JSON = _format("xgboost-json", "xgboost", "XGBoost JSON", "XGBoost", False, ".json", 'a "learner"')
XGBOOST_UBJ = _format("xgboost-ubj", "xgboost", "XGBoost UBJSON", "XGBoost", False, ".ubj", "{L")
XGBOOST_BINARY = Format("XGBoost legacy binary", "xgboost-binary", "xgboost", "XGBoost", False,
    (".model", ".bst", ".bin", ".xgb"),
    "binf or bs64, or 136 bytes of parameters and the objective's name; nothing says where it ends", False)
LIGHTGBM = _format("lightgbm", "lightgbm", "LightGBM text", "LightGBM", False, ".txt .lgb .model", "tree")
PMML = _format("pmml", "pmml", "PMML", "a PMML evaluator", False, ".pmml .xml",
    "XML with the root PMML, in UTF-8 or UTF-16, after a BOM and comments")
MLEAP = _format("mleap", "mleap", "MLeap bundle", "MLeap", False, ".zip", "a zip or folder with bundle.json")
SAVED_MODEL = _format("savedmodel", "tensorflow", "TensorFlow SavedModel", "TensorFlow", True, ".pb",
    "a folder with saved_model.pb, or that file: schema version 1 and meta graphs")
GRAPH_DEF = _format("graphdef", "tensorflow", "TensorFlow frozen graph", "TensorFlow", True, ".pb",
    "protobuf of nodes, each with a name and an operation")
TFLITE = _format("tflite", "tensorflow", "TensorFlow Lite", "LiteRT", False, ".tflite .lite", "TFL3 at 4")
GGUF = _format("gguf", "custom", "GGUF", "llama.cpp", False, ".gguf", "GGUF")
MLFLOW = _format("mlflow", "mlflow", "MLflow model", "MLflow", True, "", "a folder with MLmodel")
TRANSFORMERS = _format("transformers", "huggingface", "Transformers folder", "Transformers", False, "",
    "a folder with config.json and *.safetensors")
TRANSFORMERS_CODE = _format("transformers-code", "huggingface", "Transformers folder with code",
    "Transformers", True, "", "the same with pytorch_model*.bin or another file that runs code")
COREML = _format("coreml", "coreml", "Core ML package", "Core ML", False, ".mlpackage", "a folder")
COREML_FILE = _format("coreml-file", "coreml", "Core ML model", "Core ML", False, ".mlmodel",
    "protobuf of a version, a description and one model of a known kind")
KERAS_JSON = _format("keras-json", "keras", "Keras layers as JSON", "Keras", True, ".json",
    "a class_name beside its config: whoever makes layers of it imports and calls what it names")
SENTENCEPIECE = _format("sentencepiece", _PLAIN, "SentencePiece tokenizer", "SentencePiece", False,
    ".model .spm", "protobuf of pieces, each with a text and a score")
JSON = _format("json", _PLAIN, "JSON", "any", False, ".json .ipynb", "{ or [")
_ARCHIVES = ".zip .tar .tgz .gz .z .bz2 .xz .lzma .lz4 .tbz2 .txz .mar"
ARCHIVE = Format("archive", "archive", _PLAIN, "your own class", False, tuple(_ARCHIVES.split()),
    "zip, tar, or something compressed; judged by what is in it", False)
ARCHIVE_CODE = _format("archive-code", _PLAIN, "archive of files that run code", "your own class",
    True, _ARCHIVES, "an archive, with such a file in it")
OPAQUE = Format("archive that cannot be looked into", "archive-opaque", _PLAIN, "your own class", True,
    (*ARCHIVE.extensions, ".7z", ".rar", ".zst"),
    "7z, rar, zstd, encrypted, damaged, too large or too deep", False)
MIXED = Format("more than one format in a file", "mixed", _PLAIN, "your own class", True, (),
    "a zip at its end or HDF5 within it, beside what its first bytes say; bytes after its end", False)
UNKNOWN = Format("files", "files", _PLAIN, "your own class", False, (), "none of the others", False)
# fmt: on

FORMATS = tuple(value for value in list(globals().values()) if isinstance(value, Format))
# What only a folder can be; its files have formats of their own.
FOLDERS = frozenset(one.key for one in (TRANSFORMERS, TRANSFORMERS_CODE, MLFLOW, COREML))
# Endings that many kinds of files have; nothing is wrong when such a file is no model.
_COMMON = ".bin .model .txt .json .xml .pb .zip .tar .gz .z .p .dat .data .xz .bz2 .ts .sav"

_MAGIC = (
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", TORCH_LEGACY),
    (b"ZF0x", PICKLE),  # joblib's own zlib frame, before 0.10
    (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner", XGBOOST_UBJ),
    (b"{L\x00\x00\x00\x00\x00\x00\x00\x07version", XGBOOST_UBJ),
    *((m, XGBOOST_BINARY) for m in (b"binf", b"bs64")),
    (b"GGUF", GGUF),
    *((m, OPAQUE) for m in (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"\x1f\x9d")),
)


def risk(found: Format) -> str:
    """What loading it does, in words."""
    return CANNOT_TELL if not found.certain else RUNS_CODE if found.runs_code else DATA_ONLY


def unsure(found: Format) -> Format:
    """The same format, of which nobody can tell any more that it is data only."""
    return replace(found, certain=False)


def mismatch(name: str, found: Format) -> str | None:
    """How a file's name and its content disagree; None when they do not."""
    ending = re.search(r"\.[a-z][a-z0-9]*$", name.lower())
    if not ending or ending[0] in found.extensions:
        return None
    claimed = [f.name for f in FORMATS if ending[0] in f.extensions]
    if (found is JSON or not found.certain) and (not claimed or ending[0] in _COMMON.split()):
        return None
    if found in (UNKNOWN, JSON):
        return f"is called {ending[0]}, and does not look like {claimed[0]}"
    if claimed or (found.runs_code and found.certain and ending[0] not in _COMMON.split()):
        return f"is called {ending[0]}, and is {found.name}"
    return None


def climbs(name: str) -> bool:
    """Whether a member's name, or a link's target, leads out of the folder it would be unpacked in."""
    parts = name.replace("\\", "/").split("/")
    return not parts[0] or ".." in parts or bool(re.match(r"[A-Za-z]:", name))


def detect_content(at: At, size: int) -> tuple[Format, list[str]]:
    """The format of a file that is neither archive nor compressed, and what is wrong with it.

    Args:
        size: its whole size, whether or not all of it can be asked for.
    """
    if not size:
        return UNKNOWN, ["empty"]
    head = at(0, HEAD)
    machine = opcodes.run(at, size)
    judged = _by_rules(at, size, head)
    if judged and judged[0] is not TORCH_LEGACY and machine.acts:
        # Whatever else it is: whoever unpickles it runs what the pickle says.
        return PICKLE, [f"two files in one: {judged[0].name}, and a pickle", *judged[1]]
    judged = judged or _pickle(at, size, head, machine)
    return judged or (UNKNOWN, [])


def _by_rules(at: At, size: int, head: bytes) -> tuple[Format, list[str]] | None:
    """The format of what is no pickle by its rule, and what is wrong with it."""
    if head[4:8] == b"TFL3":
        return TFLITE, []
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found, _ends(at, size, rb"\}\s*\Z") if found is XGBOOST_UBJ else []
    for rule in (_hdf5, _npy, _safetensors, _lightgbm, _xgboost_header, _pmml, _json):
        if judged := rule(at, size, head):
            return judged
    message = protobufs.recognise(at, size)
    if message is None:
        return None
    return next(one for one in FORMATS if one.key == message[0]), _cut(size, message[1])


_Judged = tuple[Format, list[str]]


APPENDED = "appended: "
NO_END = "truncated: it does not end as its format does, or something was appended"
_BEHIND = [f"{APPENDED}something behind its end, or in it, that is no part of it"]


def _cut(have: int, promised: int) -> list[str]:
    promised = min(promised, _MOST_PROMISED)
    return [f"truncated: {have:,} bytes, of {promised:,} that its header promises"] if have < promised else []


def _exactly(have: int, promised: int) -> list[str]:
    """A warning when a file is not as long as its header promises."""
    more = have - promised
    return (
        [f"{APPENDED}{more:,} bytes after the end that its header gives"]
        if more > 0
        else _cut(have, promised)
    )


def _ends(at: At, size: int, pattern: bytes, count: int = 4096) -> list[str]:
    """A warning when the end of a file can be seen, and is not as it should be."""
    tail = at(max(0, size - count), count)
    wrong = len(tail) == min(size, count) and not re.search(pattern, tail)
    return [NO_END] if wrong else []


def _text_ends(at: At, size: int, ends: Callable[[str], bool], mark: str, code: str = "utf-8") -> list[str]:
    """The same of a text, of which what stands behind its end is told apart."""
    try:
        endings.hold_end(at, size, ends, mark, code)
    except endings.NoEnd:
        return [NO_END]
    except endings.More:
        return _BEHIND
    return []


def _hdf5(at: At, size: int, head: bytes) -> _Judged | None:
    if head[:8] != b"\x89HDF\r\n\x1a\n":
        return None
    # The superblock says where the file ends; with addresses of 8 bytes, as everybody writes them.
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8] if len(head) > 8 else -1)
    if len(head) < 48:
        return HDF5, ["truncated: its superblock is cut off"]
    wide = head[9 if head[8] >= 2 else 13] == 8
    return HDF5, _cut(size, int.from_bytes(head[place : place + 8], "little")) if place and wide else []


def _npy(at: At, size: int, head: bytes) -> _Judged | None:
    if not head.startswith(b"\x93NUMPY"):
        return None
    start = 10 if head[6:7] == b"\x01" else 12
    header = head[start : start + int.from_bytes(head[8:start], "little")].decode("latin-1")
    # Only as NumPy writes it: Python would read a header in which "O" is written in a roundabout way.
    form = r"\{'descr': ('[|<>=]?[A-Za-z]\d*(?:\[\w+\])?'|\[[^\\\"{}]*\]), "
    form += r"'fortran_order': \w+, 'shape': (\([\d, ]*\)),? *\}\s*"
    if not header.rstrip().endswith("}"):
        return NPY_OBJECTS, ["truncated, or too long: its header has no end"]
    descr = re.fullmatch(form, header)
    # A nameless field is the padding of C's structs, as the nodes of scikit-learn's trees have it.
    if not descr or re.search(r"(?<!\()''|''(?!, '\|V\d+'\))|'\s+'|'[|<>=]?O|object", descr[1]):
        return NPY_OBJECTS, []
    one = _item_size(descr[1])
    if one is None:
        return OPAQUE, ["its items are of a type that is not known, so nobody can tell where it ends"]
    digits = re.findall(r"\d+", descr[2])
    lengths = [int(one) if len(one) <= 20 else _MOST_PROMISED for one in digits]
    return NPY, _exactly(size, start + len(header) + _product([one, *lengths]))


def _item_size(descr: str) -> int | None:
    """The bytes of one item of a NumPy type, as a header writes it; None where it cannot be told."""
    import ast

    try:
        return _size_of(ast.literal_eval(descr))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _size_of(descr: object) -> int:
    if isinstance(descr, list):  # of fields
        return sum(_product([_size_of(one[1]), *_shape(*one[2:])]) for one in descr)
    if isinstance(descr, tuple):
        return _product([_size_of(descr[0]), *_shape(*descr[1:])])
    found = re.fullmatch(r"[|<>=]?([?biufcmMSaUV])(\d{0,18})(?:\[\w+\])?", str(descr))
    if not found:
        raise ValueError("not a type")
    return int(found[2] or found[1] in "?b") * (4 if found[1] == "U" else 1)


def _shape(lengths: object = (), *more: object) -> list[int]:
    if more:
        raise ValueError("more than a type and a shape")
    return [int(one) for one in (lengths if isinstance(lengths, tuple) else (lengths,))]


def _product(numbers: list[int]) -> int:
    """The product, which is never larger than what no file could have."""
    if 0 in numbers:
        return 0
    product = 1
    for number in numbers:
        product = min(product * number, _MOST_PROMISED)
    return product


def whole(at: At, start: int, count: int) -> bytes:
    """So many bytes, however few are given at a time; fewer where nobody may look further."""
    data = bytearray()
    while len(data) < count and (more := at(start + len(data), count - len(data))):
        data += more
    return bytes(data)


def _safetensors(at: At, size: int, head: bytes) -> _Judged | None:
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= _MOST_HEADER:
        return None
    if not re.match(rb'\{\s*("(?:[^"\\]|\\.)*"\s*:\s*\{|\}|"[^"]*\Z|\Z)', head[8 : 8 + length], re.DOTALL):
        return None
    if size < 8 + length:
        return SAFETENSORS, _cut(size, 8 + length)
    if length > _READ_HEADER:
        return OPAQUE, [f"begins as safetensors, with a header of {length:,} bytes: too large to look into"]
    raw = whole(at, 8, length)
    if len(raw) < length:  # a member of an archive, of which only so much is unpacked
        return SAFETENSORS, []
    try:
        tensors = json.loads(raw)
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
        return SAFETENSORS, _exactly(size, 8 + length + max([0, *map(int, ends)]))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        return None


def _lightgbm(at: At, size: int, head: bytes) -> _Judged | None:
    if not re.match(rb"tree\r?\n(version|num_class|max_feature_idx)=", head):
        return None
    return LIGHTGBM, _text_ends(at, size, endings.lightgbm_ends, "end of trees")


def _xgboost_header(at: At, size: int, head: bytes) -> _Judged | None:
    length = int.from_bytes(head[136:144], "little")
    objective = rb"(reg|binary|multi|rank|count|survival):\w+"
    found = length < 64 and re.fullmatch(objective, head[144 : 144 + length])
    return (XGBOOST_BINARY, []) if found else None


def _pmml(at: At, size: int, head: bytes) -> _Judged | None:
    if not head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        return None
    code = "utf-8"
    for start, encoding in ((b"\xff\xfe", "utf-16-le"), (b"<\0", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        code = encoding if head.startswith(start) else code
    code = "utf-16-be" if head.startswith(b"\0<") else code
    text = head.decode(code, "ignore").lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        return None
    # One after another, and never by one pattern: a stranger's text must not make it slow.
    place, opening = 0, re.compile(r"\s*(<!--|<\?|<!)")
    for _ in range(_MOST_PROLOGUE):
        found = opening.match(text, place)
        if not found:
            break
        ending = {"<!--": "-->", "<?": "?>", "<!": ">"}[found[1]]
        place = text.find(ending, found.end()) + len(ending)
        if place < found.end():
            return None
    if not re.compile(r"\s*<(\w{1,40}:)?PMML[\s>]").match(text, place):
        return None
    return PMML, _text_ends(at, size, endings.pmml_ends, "PMML>", code)


def _json(at: At, size: int, head: bytes) -> _Judged | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    boosted = re.match(rb'\{\s*("version"\s*:\s*\[[\d,\s]*\]\s*,\s*)?"learner"\s*:\s*\{', text)
    if not boosted and not re.match(rb'(\{\s*["}]|\[\s*[\[\]{"\d.tfn-])', text):
        return None
    found = XGBOOST_JSON if boosted else JSON
    data = whole(at, 0, size) if size <= endings.MOST_JSON else b""
    if len(data) < size:  # too large to be read, or a member of an archive
        return found, _ends(at, size, rb"[\]}]\s*\Z")
    try:
        values = endings.read_json(data)
    except endings.NoEnd:
        return found, [NO_END]
    except endings.More as error:  # a text that only begins so is none
        return (found, _BEHIND) if boosted or error.args == (True,) else None
    return (KERAS_JSON if endings.makes_layers(values) else found), []


def _pickle(at: At, size: int, head: bytes, machine: opcodes.Run) -> _Judged | None:
    if re.match(rb"\x80[\x00-\x05]", head) or machine.pickle:
        return PICKLE, _ends(at, size, rb"\.\Z", 1)
    return None


def detect_zip(names: Collection[str]) -> Format:
    """The format of a zip archive, by the names in it; ARCHIVE when it is none of a model's."""
    names = {name for name in names if not name.endswith("/")}
    tails = {name.partition("/")[2] for name in names}
    if "data.pkl" in tails:
        return TORCHSCRIPT if any(tail.startswith("code/") for tail in tails) else TORCH_PICKLE
    models = any(tail.startswith("models/") for tail in tails)
    if "serialized_exported_program.json" in names | tails or ("archive_format" in tails and models):
        return TORCH_EXPORT
    if {"config.json", "metadata.json"} <= names:
        return KERAS
    if "schema.json" in names:
        return SKOPS
    if "bundle.json" in names:
        return MLEAP
    return NPZ if names and all(name.endswith(".npy") for name in names) else ARCHIVE


def detect_folder(names: Collection[str]) -> Format:
    """The format of a folder, by the relative names of the files in it."""
    if "MLmodel" in names:
        return MLFLOW
    if "saved_model.pb" in names or "saved_model.pbtxt" in names:
        return SAVED_MODEL
    if "Manifest.json" in names and any(n.startswith("Data/") for n in names):
        return COREML
    if "bundle.json" in names and any(n.startswith("root/") for n in names):
        return MLEAP
    if "config.json" in names:
        if any(re.fullmatch(r"pytorch_model.*\.bin", n) for n in names):
            return TRANSFORMERS_CODE
        if any(n.endswith(".safetensors") for n in names):
            return TRANSFORMERS
    return UNKNOWN
