"""PyTorch: TorchScript, torch.export programs, and weights with the class that they belong to."""

import importlib
import inspect
import pickle
import zipfile

import numpy as np

from . import Flavored, requirement

_ENDINGS = (".pt", ".pth", ".pt2", ".ts", ".torchscript", ".safetensors", ".bin", ".ckpt")
_KEYS = ("state_dict", "model_state_dict")


class Pytorch(Flavored):
    """A module in evaluation mode, without gradients, on a GPU where there is one.

    The inputs are the arguments of `forward`: by name where all have its names, else in their order. What it
    returns is the outputs: one tensor, several in their order, or a dict by name.

    Options:
        file: which file of a folder to load.
        arguments: of the class, by name, where the file holds weights (`model_class` names the class).
        key: where in a checkpoint the weights are; `state_dict` and `model_state_dict` are found.
        device: where it runs, as `cpu` or `cuda:1`.
    """

    def open(self):
        import torch

        file = self.file(*_ENDINGS)
        self.device = self.options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        self.kind = _kind(file)
        self.program = None
        if self.kind == "torchscript":
            self.module = torch.jit.load(file, map_location=self.device).eval()
            self.names = [one.name for one in self.module.forward.schema.arguments[1:]]
        elif self.kind == "export":
            self._open_program(file)
        else:
            self._open_weights(file)
        shapes = {shape[:1] for _, _, shape in self.known_inputs() or []}
        # A program that was exported for one row at a time gets its rows one by one.
        self.single = shapes == {(1,)} and self.batched

    def _open_program(self, file):
        import torch

        self.refuse_code(file)
        with open(file, "rb") as stream:
            self.program = torch.export.load(stream)
        if self.device != "cpu":
            from torch.export.passes import move_to_device_pass

            self.program = move_to_device_pass(self.program, self.device)
        self.module = self.program.module()
        self.names = list(self.program.graph_signature.user_inputs)

    def refuse_code(self, file):
        """Loading a program evaluates expressions, and unpickles what its file likes."""
        if "pickle" not in self.settings["trust"]:
            raise PermissionError(
                f"{file.rpartition('/')[2]} is a torch.export program, which can run code when it is loaded; "
                "`trust: pickle` in the manifest allows it. TorchScript, and weights with a class, run none"
            )

    def _open_weights(self, file):
        import torch

        if self.kind == "safetensors":
            from safetensors.torch import load_file

            held = load_file(file)
        else:
            held = self._unpickled(file)
        if isinstance(held, torch.nn.Module):
            self.module = held
        else:
            self.module = self._made()
            self.module.load_state_dict(self._weights(held))
        self.module = self.module.to(self.device).eval()
        forward = inspect.signature(self.module.forward).parameters.values()
        self.names = [one.name for one in forward if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]

    def _unpickled(self, file):
        """Tensors; anything else only where the manifest trusts the file."""
        import torch

        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            self.refuse_pickle(file, "A state_dict with `model_class` needs no trust")
            return torch.load(file, map_location="cpu", weights_only=False)

    def _made(self):
        """The user's module, of the class and with the arguments that the manifest says."""
        import torch

        dotted = self.settings.get("model_class")
        if not dotted:
            raise ValueError(
                "the file holds weights: `model_class` has to name the torch.nn.Module they are of"
            )
        module, _, name = dotted.rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
            raise TypeError(f"{dotted} is no torch.nn.Module")
        return cls(**self.options.get("arguments", {}))

    def _weights(self, held):
        """The state_dict in what the file holds."""
        for key in [self.options["key"]] if "key" in self.options else _KEYS:
            if isinstance(held, dict) and isinstance(held.get(key), dict):
                return held[key]
        if "key" in self.options or not isinstance(held, dict):
            has = f"it has {', '.join(map(str, list(held)[:10]))}" if isinstance(held, dict) else ""
            raise ValueError(f"the file holds no state_dict {self.options.get('key', '')!r}; {has}")
        return held

    def unwrap(self):
        """The module."""
        return self.module

    def answer(self, inputs):
        if self.single:
            count = len(next(iter(inputs.values())))
            rows = [self._answer({n: a[i : i + 1] for n, a in inputs.items()}) for i in range(count)]
            if isinstance(rows[0], dict):
                return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
            return [np.concatenate(one) for one in zip(*rows)]
        return self._answer(inputs)

    def _answer(self, inputs):
        import torch

        tensors = {name: self._tensor(name, array) for name, array in inputs.items()}
        with torch.inference_mode():
            if self.program is not None:
                leaves = (
                    [tensors[n] for n in self.names] if set(tensors) == set(self.names) else tensors.values()
                )
                spec = self.program.call_spec.in_spec
                ordered, named = torch.utils._pytree.tree_unflatten(list(leaves), spec)
                said = self.module(*ordered, **named)
            elif set(tensors) <= set(self.names):
                said = self.module(**tensors)
            else:
                said = self.module(
                    *[tensors[f.name] for f in self.inputs if f.name in tensors] or tensors.values()
                )
        return _arrays(said)

    def _tensor(self, name, array):
        import torch

        if array.dtype.kind not in "biuf":
            raise TypeError(f"input {name!r}: PyTorch has no tensors of strings")
        whole = np.ascontiguousarray(array)
        return torch.from_numpy(whole if whole.flags.writeable else whole.copy()).to(self.device)

    def known_inputs(self):
        """Of a program, in the order of its arguments."""
        if self.program is None:
            return None
        graph = {
            node.name: node.meta.get("val") for node in self.program.graph.nodes if node.op == "placeholder"
        }
        tensors = [(name, graph.get(name)) for name in self.names]
        if any(not hasattr(one, "shape") for _, one in tensors):
            return None
        return [(name, _dtype(one.dtype), _shape(one.shape)) for name, one in tensors]

    def describe(self):
        if self.single:  # as if it took batches: it does here
            inputs = [(name, dtype, (None, *shape[1:])) for name, dtype, shape in self.known_inputs()]
            self.known_inputs = lambda: inputs
        return super().describe()

    def native(self):
        said = str(self.module.forward.schema.returns) if self.kind == "torchscript" else ""
        return {"kind": self.kind, "arguments": self.names, "mapping": "Dict" in said}

    def requirements(self):
        return [requirement("torch"), *([requirement("safetensors")] if self.kind == "safetensors" else [])]


def _kind(file):
    """`torchscript`, `export`, `safetensors` or `pickle`, by the file's content."""
    if not zipfile.is_zipfile(file):
        with open(file, "rb") as stream:
            head = stream.read(9)
        if not head or head[:2] == b"PK":
            raise ValueError("the file is a truncated archive" if head else "the file is empty")
        return "safetensors" if head[8:9] == b"{" else "pickle"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    tails = {name.partition("/")[2] for name in names}
    if "data.pkl" in tails:
        return "torchscript" if any(tail.startswith("code/") for tail in tails) else "pickle"
    program = "serialized_exported_program.json" in {*names, *tails} or "archive_format" in tails
    return "export" if program else "pickle"


def _dtype(dtype):
    """The NumPy dtype of a torch dtype; one that the schema has no name for where NumPy has none."""
    text = str(dtype).removeprefix("torch.")
    return (
        np.dtype(text)
        if text in ("bool", "uint8", *(f"int{n}" for n in (8, 16, 32, 64)), "float32", "float64")
        else np.dtype("complex64")
    )


def _shape(shape):
    return tuple(n if isinstance(n, int) else None for n in shape)


def _arrays(said):
    """What a module returns as arrays: a dict by name, or a list in its order."""
    if hasattr(said, "_asdict"):
        said = said._asdict()
    if hasattr(said, "items"):
        return {str(name): _array(one) for name, one in said.items() if hasattr(one, "detach")}
    several = said if isinstance(said, (list, tuple)) else [said]
    return [_array(one) for one in several if hasattr(one, "detach")]


def _array(tensor):
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.numpy()
