"""Transformers folders: text in, arrays out. The hub is never asked, and no code of a folder is taken."""

import json
import os

import numpy as np

from . import Flavored, version

# The task that an architecture's ending means, and the class that loads it.
_TASKS = {
    "text-classification": ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    "text-generation": (("ForCausalLM", "LMHeadModel"), "AutoModelForCausalLM"),
    "text2text-generation": ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    "feature-extraction": ("Model", "AutoModel"),
}
_LONGEST = 100_000  # tokenizers that know no limit say an astronomic one


class HuggingFace(Flavored):
    """A folder with config.json, weights and the tokenizer's files.

    Options:
        task: text-classification (`label`, `scores`), feature-extraction (`embedding`), text-generation
            or text2text-generation (`generated`); by default what the architecture is for.
        pooling: mean (default) or cls: how token embeddings become one.
        max_new_tokens: the most tokens that are generated, 20 by default.
    """

    def open(self):
        config = self._config()
        self.task = self.options.get("task") or _task(config)
        if self.task not in _TASKS:
            raise ValueError(f"the task {self.task!r} is none of {', '.join(_TASKS)}")
        safe = any(name.endswith(".safetensors") for name in os.listdir(self.path))
        if not safe:
            self.refuse_pickle("pytorch_model.bin", "save_pretrained writes safetensors, which run none")
        import torch
        import transformers

        self.torch = torch
        given = {"local_files_only": True, "trust_remote_code": False}
        with _quiet():
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.path, **given)
            cls = getattr(transformers, _TASKS[self.task][1])
            self.model = cls.from_pretrained(self.path, use_safetensors=safe, **given)
        self.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.config = self.model.config
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if self.task == "text-generation":
            self.tokenizer.padding_side = "left"  # what is generated follows the text, not the padding
        limit = self.tokenizer.model_max_length
        self.limit = limit if limit < _LONGEST else getattr(self.config, "max_position_embeddings", None)

    def _config(self):
        """config.json; an error that says what is missing where there is none."""
        folder = os.path.isdir(self.path)
        names = os.listdir(self.path) if folder else [os.path.basename(self.path)]
        lacks = [] if "config.json" in names else ["config.json"]
        weights = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
        more = ("pytorch_model.bin.index.json",)
        lacks += [] if not folder or {*weights, *more} & {*names} else ["model.safetensors"]
        told = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")
        lacks += [] if {*told, "tokenizer.model"} & {*names} else ["the tokenizer's files (tokenizer.json)"]
        if lacks:
            raise ValueError(
                f"{', '.join(lacks)} missing beside {', '.join(sorted(names)[:10])}: the artifact "
                "has to be a folder as save_pretrained of the model and of its tokenizer writes it; weights "
                "alone need a class of yours (type pytorch)"
            )
        with open(os.path.join(self.path, "config.json"), encoding="utf-8") as stream:
            config = json.load(stream)
        if not isinstance(config, dict):
            raise ValueError("config.json is no mapping")
        return config

    def answer(self, inputs):
        columns = [_texts(inputs[name]) for name in ("text", "text_pair") if name in inputs]
        if not columns:
            columns = [_texts(next(iter(inputs.values())))]
        tokens = self.tokenizer(
            *columns,
            padding=True,
            truncation=bool(self.limit),
            max_length=self.limit,
            return_tensors="pt",
        ).to(self.model.device)
        with self.torch.inference_mode():
            return getattr(self, "_" + self.task.replace("-", "_"))(tokens)

    def _text_classification(self, tokens):
        logits = self.model(**tokens).logits.float()
        kind = self.config.problem_type
        if kind == "regression" or logits.shape[-1] == 1:
            return {"score": logits.cpu().numpy()}
        several = kind == "multi_label_classification"
        scores = (logits.sigmoid() if several else logits.softmax(-1)).cpu().numpy()
        labels = [self.config.id2label[int(i)] for i in scores.argmax(-1)]
        return {"label": np.array(labels, object), "scores": scores}

    def _feature_extraction(self, tokens):
        states = self.model(**tokens).last_hidden_state.float()
        if self.options.get("pooling", "mean") == "cls":
            return {"embedding": states[:, 0].cpu().numpy()}
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        return {"embedding": ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu().numpy()}

    def _text_generation(self, tokens):
        return self._generated(tokens, tokens["input_ids"].shape[1])

    def _text2text_generation(self, tokens):
        return self._generated(tokens, 0)

    def _generated(self, tokens, start):
        tokens.pop("token_type_ids", None)
        made = self.model.generate(
            **tokens,
            max_new_tokens=self.options.get("max_new_tokens", 20),
            do_sample=False,
            num_beams=1,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        texts = self.tokenizer.batch_decode(made[:, start:], skip_special_tokens=True)
        return {"generated": np.array(texts, object)}

    def known_inputs(self):
        return [("text", np.dtype(object), (None,))]

    def known_outputs(self):
        text = (None,)
        if self.task.endswith("generation"):
            return [("generated", np.dtype(object), text)]
        if self.task == "feature-extraction":
            return [("embedding", np.dtype("float32"), (None, self.config.hidden_size))]
        count = self.config.num_labels
        if self.config.problem_type == "regression" or count == 1:
            return [("score", np.dtype("float32"), (None, count))]
        return [("label", np.dtype(object), text), ("scores", np.dtype("float32"), (None, count))]

    def known_options(self):
        return {"task": self.task}

    def requirements(self):
        return [
            f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "transformers", "safetensors")
        ]


class _quiet:
    """No progress bars while weights are read."""

    def __enter__(self):
        from transformers.utils import logging

        self.logging, self.shown = logging, logging.is_progress_bar_enabled()
        logging.disable_progress_bar()

    def __exit__(self, *_):
        if self.shown:
            self.logging.enable_progress_bar()


def _task(config):
    """What an architecture is for."""
    name = str((config.get("architectures") or [""])[0])
    for task, (endings, _) in _TASKS.items():
        if name.endswith(endings):
            return task
    raise ValueError(
        f"config.json's architecture {name!r} does not say what the model is for; "
        f"`options: {{task: ...}}` is one of {', '.join(_TASKS)}"
    )


def _texts(array):
    return [e.decode() if isinstance(e, bytes) else str(e) for e in array.ravel().tolist()]
