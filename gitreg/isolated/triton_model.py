"""Triton's entry point: requests in, one response per request out.

A failure in one request is answered to that request alone. Requests with different optional inputs or
different shapes are never mixed. The work is linear in the number of rows.
"""

import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils

from .user_model import Field, UserModel


class TritonPythonModel:
    """Triton calls initialize once, then execute with every batch of requests it has put together."""

    def initialize(self, args):
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
        if self.custom and len(requests) > 1:
            return self._execute_together(requests)
        return [self._respond(request) for request in requests]

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

    def _respond(self, request, alone=True):
        """Answer one request; `alone` says that the model is not asked again before it is sent."""
        try:
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
        except (Exception, SystemExit) as error:  # a model that exits must not end the server
            return _failure(error)

    def _execute_together(self, requests):
        """One predict for all requests of the same inputs and shapes; apart again if that fails."""
        responses = [None] * len(requests)
        groups = {}
        for i, request in enumerate(requests):
            try:
                columns = self._read(request)
                key = tuple((name, array.shape[1:]) for name, array in columns.items())
                groups.setdefault(key, []).append((i, columns))
            except Exception as error:
                responses[i] = _failure(error)
        for members in groups.values():
            last = len(groups) == 1
            if len(members) == 1 or not self._answer_together(members, responses, last):
                for i, _ in members:
                    responses[i] = self._respond(requests[i], alone=False)
        return responses

    def _answer_together(self, members, responses, last):
        counts = [len(next(iter(columns.values()), ())) for _, columns in members]
        try:
            together = {
                name: np.concatenate([columns[name] for _, columns in members]) for name in members[0][1]
            }
            answer = self.user_model.predict(together, sum(counts))
            if not last:
                answer = {name: array.copy() for name, array in answer.items()}
            start = 0
            for (i, _), count in zip(members, counts):
                responses[i] = _response(
                    {name: array[start : start + count] for name, array in answer.items()}
                )
                start += count
            return True
        except (Exception, SystemExit):
            return False  # one of them is at fault: each gets its own answer


def _response(answer):
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])


def _failure(error):
    text = f"{type(error).__name__}: {error}"
    return pb_utils.InferenceResponse([], pb_utils.TritonError(text))
