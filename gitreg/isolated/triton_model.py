"""Triton's entry point: requests in, one response per request out.

A failure in one request is answered to that request alone. Requests with different optional inputs or
different shapes are never mixed. The work is linear in the number of rows.
"""

import contextlib
import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils

from .user_model import Field, UserModel, told

_LARGE = 1 << 20  # smaller answers always fit


class TritonPythonModel:
    """Triton calls initialize once, then execute with every batch of requests it has put together."""

    def initialize(self, args):
        self.process = os.getpid()
        try:
            self._load(args)
        except BaseException as error:
            # Of some exceptions the process in which models run would end, and nobody would know why.
            if _is_plain(error):
                raise
            raise pb_utils.TritonModelException(told(error)) from None
        finally:
            self._end_copies()

    def _load(self, args):
        config = json.loads(args["model_config"])
        folder = os.path.join(args["model_repository"], args["model_version"])
        said = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        with open(os.path.join(folder, "model_class.txt")) as stream:
            model_class = stream.read().strip()
        self.batched = config["max_batch_size"] > 0
        self.custom = said.get("gitreg.custom_batching") == "true"
        self.inputs = [item["name"] for item in config["input"]]
        outputs = [
            Field(item["name"], pb_utils.triton_string_to_numpy(item["data_type"]), map(int, item["dims"]))
            for item in config["output"]
        ]
        artifact = os.path.join(folder, *said.get("gitreg.artifact", "model").split("/"))
        self.user_model = UserModel(folder, artifact, model_class, outputs, self.custom)
        self.single = self.inputs[0] if len(self.inputs) == 1 else None

    def execute(self, requests):
        responses = [None] * len(requests)
        together = self.custom and len(requests) > 1
        if together:
            with contextlib.suppress(BaseException):  # those without an answer are asked one by one
                self._execute_together(requests, responses)
            self._end_copies()
        for i, request in enumerate(requests):
            if responses[i] is None:
                try:
                    responses[i] = self._respond(request, alone=not together)
                except BaseException as error:  # an exit or an interrupt, too, is this request's alone
                    responses[i] = _failure(error)
                self._end_copies()
        return responses

    def _end_copies(self):
        """End a process that the model forked, and that came back from its code too: one answers Triton."""
        if os.getpid() != self.process:
            os._exit(0)

    def _read(self, request):
        """The request's arrays by name; optional inputs that were not sent are left out."""
        if self.single is not None:
            tensor = pb_utils.get_input_tensor_by_name(request, self.single)
            return {self.single: tensor.as_numpy()} if tensor is not None else {}
        columns = {}
        for name in self.inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                columns[name] = tensor.as_numpy()
        return columns

    def _respond(self, request, alone):
        """Answer one request; `alone` says that the model is not asked again before it is sent."""
        columns = self._read(request)
        if not columns:
            raise ValueError("the request has no input")
        if self.batched:
            answer = self.user_model.predict(columns, len(next(iter(columns.values()))))
        else:
            answer = self.user_model.predict_whole(columns)
        if not alone:  # the next call may write into what the model answered with
            answer = {name: array.copy() for name, array in answer.items()}
        return _response(answer)

    def _execute_together(self, requests, responses):
        """One predict for all requests of the same inputs and shapes; those that fail so get no response."""
        groups = {}
        for i, request in enumerate(requests):
            with contextlib.suppress(Exception):
                columns = self._read(request)
                key = tuple((name, array.shape[1:]) for name, array in columns.items())
                groups.setdefault(key, []).append((i, columns))
        for members in groups.values():
            if len(members) > 1:
                with contextlib.suppress(BaseException):  # one of them is at fault
                    self._answer_together(members, responses, last=len(groups) == 1)

    def _answer_together(self, members, responses, last):
        counts = [len(next(iter(columns.values()), ())) for _, columns in members]
        together = {name: np.concatenate([columns[name] for _, columns in members]) for name in members[0][1]}
        answer = self.user_model.predict(together, sum(counts))
        if not last:
            answer = {name: array.copy() for name, array in answer.items()}
        made, start = [], 0
        for count in counts:
            made.append(_response({name: array[start : start + count] for name, array in answer.items()}))
            start += count
        for (i, _), response in zip(members, made):
            responses[i] = response


def _response(answer):
    """The response of an answer, which has to fit into the memory that Triton shares with this process.

    What does not fit is found by Triton only after `execute`, and fails all requests of the batch.
    """
    size = sum([_size(array) for array in answer.values()])
    if size > _LARGE:
        whole = _shared_memory()
        if whole is not None and size > whole:
            raise MemoryError(
                f"the answer takes {size:,} bytes, and all of /dev/shm has {whole:,}; Docker: --shm-size"
            )
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])


def _size(array):
    return sum(map(len, array.ravel().tolist())) if array.dtype.hasobject else array.nbytes


def _shared_memory():
    try:
        found = os.statvfs("/dev/shm")
        return found.f_blocks * found.f_frsize or None
    except OSError:
        return None


def _failure(error):
    try:
        text = told(error)
    except BaseException:  # as where a model allows hardly any recursion
        text = "the model failed, and its error cannot be read"
    return pb_utils.InferenceResponse([], pb_utils.TritonError(text))


def _is_plain(error):
    """Whether Triton can pass an exception on by itself, with its traceback."""
    try:
        return isinstance(error, Exception) and len(str(error).encode()) < 10_000
    except BaseException:
        return False
