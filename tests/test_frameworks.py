"""Models of heavy frameworks, tiny ones: from `new` to one real Triton for them all (rows C7, M8)."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitreg import DataType, ModelSchema, ModelSchemaItem, builder, load_raw_model
from gitreg.declared import Batching
from gitreg.errors import Refused
from gitreg.isolated.flavors import Field
from gitreg.isolated.flavors.huggingface import HuggingFace
from gitreg.isolated.flavors.keras import Keras
from gitreg.isolated.flavors.tensorflow import TensorFlow
from gitreg.packages import Parts, contents_of
from gitreg.packages.triton import config_text
from tests.flavored import is_verified, raw_answers, same, samples_of, shop_with, triton, triton_answers
from tests.support import Workshop, needs_triton

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "not", "at", "all"]
TEXTS = [{"text": ["a good film"]}, {"text": ["bad"]}, {"text": ["not a bad film at all é"]}]


def tokenizer(place: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
        model_max_length=16,
    ).save_pretrained(place)


def make_folders(place: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
        "initializer_range": 0.5,
    }
    labels = {0: "bad", 1: "good", 2: "so-so"}
    classes = BertConfig(**small, id2label=labels, label2id={v: k for k, v in labels.items()})
    tiny = GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    tiny.bos_token_id = tiny.eos_token_id = 3
    for name, model in {
        "classes": BertForSequenceClassification(classes),
        "vectors": BertModel(BertConfig(**small)),
        "writer": GPT2LMHeadModel(tiny),
    }.items():
        model.save_pretrained(place / name)
        tokenizer(place / name)


def keras_model(place: Path) -> Any:
    """Two inputs, two outputs, by the functional API; saved in both of Keras's formats."""
    import keras

    keras.utils.set_random_seed(0)
    features, kinds = keras.Input((4,), name="features"), keras.Input((3,), name="kinds seen", dtype="int32")
    hidden = keras.layers.Dense(8, activation="relu")(features)
    seen = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(kinds))
    chance = keras.layers.Dense(2, activation="softmax", name="chance")(
        keras.layers.Concatenate()([hidden, seen])
    )
    model = keras.Model([features, kinds], [chance, keras.layers.Dense(1, name="value")(hidden)])
    model.save(place / "net.keras")
    model.save(place / "net.h5")
    return model


def saved_model(place: Path) -> None:
    """A SavedModel over numbers and text with two signatures, one of which writes a file."""
    import tensorflow as tf

    class Greeter(tf.Module):
        def __init__(self) -> None:
            self.weights = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2))

        @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.string)])
        def greet(self, x, who):  # type: ignore[no-untyped-def]
            return {"y": x @ self.weights, "hello": tf.strings.join(["hi ", who])}

        @tf.function(input_signature=[tf.TensorSpec([None, 1])])
        def note(self, x):  # type: ignore[no-untyped-def]
            tf.io.write_file(str(place / "written"), "by a graph")
            return {"z": x}

    made = Greeter()
    signatures = {"serving_default": made.greet, "note": made.note}
    tf.saved_model.save(made, str(place / "saved"), signatures=signatures)


NET = [
    {"features": [1.0, 2.0, 3.0, 4.0], "kinds_seen": [0, 1, 2]},
    {"features": [0.0, -1.0, 0.5, 2.0], "kinds_seen": [4, 4, 4]},
]
GREETED = [{"x": [1.0, 0.0, 0.0, 1.0], "who": ["ann"]}, {"x": [0.0, 2.0, 0.0, 0.0], "who": ["é"]}]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    place = tmp_path_factory.mktemp("huggingface")
    # This process has torch behind Keras; the isolated ones, and Triton, what they find first.
    os.environ["KERAS_BACKEND"] = "torch"
    make_folders(place)
    keras_model(place)
    del os.environ["KERAS_BACKEND"]
    saved_model(place)
    for name, samples in {"texts": TEXTS, "net": NET, "greeted": GREETED}.items():
        (place / f"{name}.json").write_text(json.dumps(samples))
    return shop_with(
        place / "registry",
        {
            "classes": ["--from", place / "classes", "--samples", place / "texts.json"],
            "net": ["--from", place / "net.keras", "--samples", place / "net.json"],
            "greeter": [
                *("--from", place / "saved", "--samples", place / "greeted.json"),
                *("--trust", "pickle"),
            ],
        },
    )


def test_answers_are_those_of_transformers(shop: Workshop) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = shop.root.parent / "classes"
    tokens = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for said, sample in zip(raw_answers(shop, "classes"), TEXTS, strict=True):
        with torch.no_grad():
            scores = model(**tokens(sample["text"], return_tensors="pt")).logits.softmax(-1)[0]
        np.testing.assert_allclose(said["scores"], scores, rtol=1e-5)
        assert said["label"].tolist() == [model.config.id2label[int(scores.argmax())]]
    text = (shop.root / "models" / "classes" / "model.yaml").read_text()
    assert "task: text-classification" in text and "trust" not in text


def test_a_batch_of_texts_of_all_lengths_is_answered_as_each_is(shop: Workshop) -> None:
    model = load_raw_model(shop.root / "dist" / "raw" / "classes")
    together = model.predict({"text": np.stack([one["text"] for one in samples_of(shop, "classes")])})
    apart = raw_answers(shop, "classes")
    same([{n: a[i] for n, a in together.items()} for i in range(len(apart))], apart)


@pytest.mark.parametrize(
    ("name", "options", "output", "shape"),
    [
        ("vectors", {}, "embedding", (16,)),
        ("vectors", {"pooling": "cls"}, "embedding", (16,)),
        ("writer", {"max_new_tokens": 4}, "generated", (1,)),
        ("classes", {"task": "feature-extraction"}, "embedding", (16,)),
    ],
)
def test_other_tasks(shop: Workshop, name: str, options: dict[str, Any], output: str, shape: Any) -> None:
    inputs = [{"name": "text", "data_type": "string", "shape": [1]}]
    model = HuggingFace(str(shop.root.parent / name), {**settings(**options), "inputs": inputs})
    described = model.describe()["outputs"]
    assert [one["name"] for one in described] == [output] and described[0]["shape"] == list(shape)
    texts = np.array([one["text"] for one in TEXTS], object)
    model.outputs = [Field(**one) for one in described]
    together = model.predict({"text": texts})[output]
    for i, row in enumerate(texts):
        alone = model.predict({"text": row})[output]
        assert alone.shape == shape
        same([{output: alone}], [{output: together[i]}])


@needs_triton
def test_packages_hold_and_triton_answers_the_same(shop: Workshop) -> None:
    is_verified(shop, "classes")
    with triton(shop) as client:
        for folder in sorted((shop.root / "dist" / "triton").iterdir()):
            same(triton_answers(client, shop, folder.name), raw_answers(shop, folder.name))


# What a folder lacks, and what it must not do ------------------------------------------------------


def copied(shop: Workshop, place: Path, but: str = "") -> Path:
    """A copy of a folder, without a file."""
    place.mkdir()
    for file in (shop.root.parent / "classes").iterdir():
        if file.name != but:
            (place / file.name).write_bytes(file.read_bytes())
    return place


@pytest.mark.parametrize(
    ("but", "says"),
    [
        ("config.json", "config.json missing beside"),
        ("tokenizer.json", "the tokenizer's files (tokenizer.json) missing beside"),
        ("model.safetensors", "model.safetensors missing beside"),
    ],
)
def test_what_is_missing_is_said(
    shop: Workshop, workshop: Workshop, tmp_path: Path, but: str, says: str
) -> None:
    folder = copied(shop, tmp_path / "part", but)
    if but == "tokenizer.json":
        (folder / "tokenizer_config.json").unlink()
    done = workshop.gitreg("new", "part", "--from", folder, "--type", "huggingface")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not (workshop.root / "models" / "part").exists()


def test_weights_alone_say_what_is_missing(shop: Workshop, workshop: Workshop) -> None:
    done = workshop.gitreg("new", "bare", "--from", shop.root.parent / "classes" / "model.safetensors")
    assert done.returncode == 1 and "config.json" in done.stderr and "type pytorch" in done.stderr


def settings(trust: list[str] | None = None, **options: Any) -> dict[str, Any]:
    return {"inputs": [], "outputs": [], "options": options, "trust": trust or [], "batched": True}


def test_truncated_weights_are_refused(shop: Workshop, workshop: Workshop, tmp_path: Path) -> None:
    file = copied(shop, tmp_path / "cut") / "model.safetensors"
    data = file.read_bytes()
    for kept in (0, 4, len(data) // 2):
        file.write_bytes(data[:kept])
        with pytest.raises(Exception, match=r"(?i)safetensor|header|file"):
            HuggingFace(str(file.parent), settings())
    done = workshop.gitreg("new", "cut", "--from", file.parent, "--type", "huggingface")
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr


def test_code_in_a_folder_is_never_taken(shop: Workshop, workshop: Workshop, tmp_path: Path) -> None:
    """Neither a module that config.json names, whatever is trusted, nor a pickle that nobody trusts."""
    folder, gone_off = copied(shop, tmp_path / "bomb"), tmp_path / "gone-off"
    (folder / "bomb.py").write_text(f"import os\nos.mkdir({str(gone_off)!r})\nclass Bomb: pass\n")
    config = json.loads((folder / "config.json").read_text())
    places = {"AutoConfig": "bomb.Bomb", "AutoModelForSequenceClassification": "bomb.Bomb"}
    changed = {**config, "model_type": "bomb", "auto_map": places}
    (folder / "config.json").write_text(json.dumps(changed))
    done = workshop.gitreg("new", "bomb", "--from", folder, "--trust", "pickle")
    assert done.returncode == 1 and not gone_off.exists(), done.stderr
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(f"cos\nmkdir\n(V{gone_off}\ntR.".encode())
    done = workshop.gitreg("new", "bomb", "--from", folder)
    assert done.returncode == 0 and "`trust: pickle`" in done.stdout, done.stderr
    workshop.commit("bomb")
    for verb in ("check", "build", "predict"):
        done = workshop.gitreg(verb, "bomb")
        assert done.returncode == 1 and not gone_off.exists(), verb
    manifest = workshop.root / "models" / "bomb" / "model.yaml"
    manifest.write_text(manifest.read_text() + "trust: pickle\n")
    assert workshop.gitreg("check", "bomb").returncode == 1
    assert not gone_off.exists(), "PyTorch itself loads weights only"


# Keras ---------------------------------------------------------------------------------------------


def test_answers_are_those_of_keras_whatever_is_behind_it(shop: Workshop) -> None:
    import keras

    assert keras.backend.backend() == "torch"
    model = keras.saving.load_model(shop.root.parent / "net.keras")
    asked = [np.array([one[name] for one in NET]) for name in ("features", "kinds_seen")]
    chance, value = model.predict([asked[0].astype("float32"), asked[1]], verbose=0)
    said = raw_answers(shop, "net")
    np.testing.assert_allclose([one["chance"] for one in said], chance, rtol=1e-5)
    np.testing.assert_allclose([one["value"] for one in said], value, rtol=1e-5)
    text = (shop.root / "models" / "net" / "model.yaml").read_text()
    assert "tensorflow" in text, "what loaded it where it was described"


def test_hdf5_is_loaded_where_it_is_trusted(shop: Workshop) -> None:
    file = str(shop.root.parent / "net.h5")
    with pytest.raises(PermissionError, match=r"net\.h5 is HDF5.*trust: pickle"):
        Keras(file, settings())
    arrays = {name: np.array([one[name] for one in NET]) for name in ("features", "kinds_seen")}
    said = Keras(file, settings(["pickle"])).predict({n: a.astype("float32") for n, a in arrays.items()})
    np.testing.assert_allclose(said["value"], [one["value"] for one in raw_answers(shop, "net")], rtol=1e-5)


def test_layers_with_python_code_do_not_run_it(shop: Workshop, workshop: Workshop, tmp_path: Path) -> None:
    import keras

    gone_off = tmp_path / "gone-off"
    code = keras.layers.Lambda(eval(f"lambda x: __import__('os').mkdir({str(gone_off)!r}) or x"))
    keras.Sequential([keras.Input((2,)), code]).save(tmp_path / "bomb.keras")
    gone_off.rmdir()
    done = workshop.gitreg("new", "bomb", "--from", tmp_path / "bomb.keras")
    assert done.returncode == 1 and "holds Python code" in done.stderr, done.stderr
    assert not gone_off.exists() and not (workshop.root / "models" / "bomb").exists()
    shutil.copy(shop.root.parent / "net.h5", tmp_path / "net.keras")  # whatever it is called
    done = workshop.gitreg("new", "old", "--from", tmp_path / "net.keras")
    assert done.returncode == 0 and "HDF5" in done.stdout and "`trust: pickle`" in done.stdout, done.stderr
    workshop.commit("old")
    done = workshop.gitreg("build", "old")
    assert done.returncode == 1 and "runs code when it is loaded" in done.stdout + done.stderr


@pytest.mark.parametrize("kept", [0, 0.5])
@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_truncated_keras_file_is_an_error(shop: Workshop, tmp_path: Path, name: str, kept: float) -> None:
    data = (shop.root.parent / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises((ValueError, OSError)):
        Keras(str(tmp_path / name), settings(["pickle"]))


# TensorFlow ----------------------------------------------------------------------------------------


def test_a_saved_model_answers_by_its_signature(shop: Workshop) -> None:
    said = raw_answers(shop, "greeter")
    assert [one["hello"].tolist() for one in said] == [[b"hi ann"], ["hi é".encode()]]
    assert said[0]["y"].tolist() == [6.0, 8.0]
    with pytest.raises(ValueError, match="no signature 'nope'; it has note, serving_default"):
        TensorFlow(str(shop.root.parent / "saved"), settings(["pickle"], signature="nope"))


def test_a_graph_that_is_not_trusted_writes_nothing(shop: Workshop, workshop: Workshop) -> None:
    source = shop.root.parent / "saved"
    with pytest.raises(PermissionError, match="a TensorFlow graph is a program"):
        TensorFlow(str(source), settings())
    done = workshop.gitreg("new", "graph", "--from", source, "--option", "signature=note")
    assert done.returncode == 0 and "SavedModel) runs code when it is loaded" in done.stdout, done.stderr
    workshop.commit("graph")
    for verb in ("check", "build", "predict"):
        assert workshop.gitreg(verb, "graph").returncode == 1, verb
    assert not (shop.root.parent / "written").exists()
    note = TensorFlow(str(source), settings(["pickle"], signature="note"))
    assert note.describe()["outputs"] == [{"name": "z", "data_type": "float", "shape": [1]}]


def test_a_frozen_graph_has_its_placeholders_asked(shop: Workshop, tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        tf.multiply(x, 3.0, name="tripled")
    file = tmp_path / "frozen.pb"
    file.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(PermissionError):
        TensorFlow(str(file), settings())
    model = TensorFlow(str(file), settings(["pickle"]))
    said = model.describe()
    assert said["inputs"] == [{"name": "x", "data_type": "float", "shape": [2]}]
    assert said["outputs"] == [{"name": "tripled", "data_type": "float", "shape": [2]}]
    assert model.predict({"x": np.ones((1, 2), np.float32)})["tripled"].tolist() == [[3.0, 3.0]]
    file.write_bytes(b"no graph")
    with pytest.raises(ValueError, match="neither a SavedModel's folder nor a frozen graph"):
        TensorFlow(str(file), settings(["pickle"]))


def test_triton_s_own_backend_is_told_of_the_signature(shop: Workshop) -> None:
    """Held against the graph as gitreg reads it; a Triton with this backend is not at hand."""
    folder = shop.root.parent / "saved"
    facts = TensorFlow(str(folder), settings(["pickle"], signature="note")).native()
    assert facts["inputs"] == [{"name": "x", "data_type": "float", "shape": [None, 1]}]
    schema = ModelSchema(
        [ModelSchemaItem("x", DataType.FLOAT, [1])], [ModelSchemaItem("z", DataType.FLOAT, [1])]
    )
    parts = Parts(
        name="greeter",
        type="tensorflow",
        artifact=builder.local_artifact(folder),
        schema=schema,
        batching=Batching(True, 64),
        options={"signature": "note"},
        backend="native",
        native=facts,
    )
    said = config_text(parts).decode()
    assert 'platform: "tensorflow_savedmodel"' in said and "TF_SIGNATURE_DEF" in said
    assert "0/model.savedmodel/saved_model.pb" in contents_of("triton", parts)
    wrong = ModelSchema(schema.input_schema, [ModelSchemaItem("y", DataType.DOUBLE, [1])])
    with pytest.raises(Refused, match="output 'y' is not in the graph"):
        contents_of("triton", replace(parts, schema=wrong))


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_truncated_saved_model_is_an_error(shop: Workshop, tmp_path: Path, kept: float) -> None:
    shutil.copytree(shop.root.parent / "saved", tmp_path / "cut")
    file = tmp_path / "cut" / "saved_model.pb"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises((ValueError, OSError)):
        TensorFlow(str(tmp_path / "cut"), settings(["pickle"]))
