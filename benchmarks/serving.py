"""Claim: on a real Triton, custom batching reaches at least 0.97 of a hand-written vectorised `execute`
at batch 1, 32 and 256, and with 8 clients.

The model doubles integers, so that nearly all the time is the wrapper's and the server's. All are in one
repository on one server and are asked in short rounds, in a different order each. The hand-written one
is there twice: what its two copies differ by is what the machine's noise alone does to the figures. For
default batching the time in `execute` is shown, by Triton's own statistics.
"""

import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from common import verdict
from execute import DOUBLER

from gitreg import CustomTritonPackager, DataType, ModelSchema, ModelSchemaItem, server

SECONDS, ROUNDS, BOUND = 0.06, 150, 0.97
SETTINGS = {"batch 1": (1, 1), "batch 32": (32, 1), "batch 256": (256, 1), "8 clients": (1, 8)}

# What somebody writes who knows Triton: all requests as one array, one response for each.
_HAND = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        if len(arrays) == 1:
            return [pb_utils.InferenceResponse([pb_utils.Tensor("y", arrays[0] * 2)])]
        y, responses, start = np.concatenate(arrays) * 2, [], 0
        for array in arrays:
            end = start + len(array)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", y[start:end])]))
            start = end
        return responses
"""


def repository(folder: Path) -> Path:
    """custom and default made by gitreg; hand and again written by hand, with the same configuration."""
    (folder / "doubler.py").write_text(DOUBLER)
    (folder / "artifact").touch()
    sys.path.insert(0, str(folder))
    schema = ModelSchema(*([ModelSchemaItem(name, DataType.INT, [1])] for name in "xy"))
    models = folder / "models"
    for name in ("custom", "default"):
        CustomTritonPackager(custom_batch_processing=name == "custom").create_model_package(
            folder / "artifact", "doubler.Doubler", schema, name, models / name
        )
    config = (models / "custom" / "config.pbtxt").read_text()
    for name in ("hand", "again"):
        (models / name / "1").mkdir(parents=True)
        (models / name / "1" / "model.py").write_text(_HAND)
        (models / name / "config.pbtxt").write_text(config.replace('name: "custom"', f'name: "{name}"'))
    return models


def connected(url: str) -> triton.InferenceServerClient:
    """A client that asks no proxy for this machine."""
    return triton.InferenceServerClient(url, channel_args=[("grpc.enable_http_proxy", 0)])


def asker(url: str, model: str, batch: int) -> Callable[[], None]:
    """A client of its own that asks one request, and checks that the answer came whole."""
    client = connected(url)
    x = np.arange(batch, dtype=np.int32).reshape(batch, 1)
    tensor = triton.InferInput("x", list(x.shape), "INT32")
    tensor.set_data_from_numpy(x)

    def ask() -> None:
        y = client.infer(model, [tensor]).as_numpy("y")
        assert y.shape == x.shape and y[-1] == x[-1] * 2

    return ask


def throughput(askers: list[Callable[[], None]]) -> float:
    """Requests per second of all clients together."""
    counts, stop = [0] * len(askers), time.perf_counter() + SECONDS

    def loop(i: int) -> None:
        while time.perf_counter() < stop:
            askers[i]()
            counts[i] += 1

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(len(askers))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def in_execute(url: str, model: str, ask: Callable[[], None], times: int = 500) -> float:
    """Mean microseconds per execution that Triton counts as inference."""
    client = connected(url)

    def counted() -> tuple[int, int]:
        (stats,) = client.get_inference_statistics(model).model_stats
        return stats.inference_stats.compute_infer.ns, stats.execution_count

    (ns, count) = counted()
    for _ in range(times):
        ask()
    (ns_after, count_after) = counted()
    return (ns_after - ns) / (count_after - count) / 1e3


def main() -> None:
    found = server.find()
    if reason := server.unfit(found):
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = server.free_ports("127.0.0.1", 0, 0, 0)
        with server.serve(found, repository(folder), ports, folder / "log"):
            measure(f"127.0.0.1:{ports.grpc}")


def measure(url: str) -> None:
    models, order = ["hand", "custom", "again"], random.Random(1)
    for setting, (batch, clients) in SETTINGS.items():
        askers = {model: [asker(url, model, batch) for _ in range(clients)] for model in models}
        rates: dict[str, list[float]] = {model: [] for model in models}
        for i in range(ROUNDS + 5):
            for model in order.sample(models, len(models)):
                rate = throughput(askers[model])
                if i >= 5:  # the first rounds warm up
                    rates[model].append(rate)
        ratios = {
            m: statistics.median(a / b for a, b in zip(rates[m], rates["hand"], strict=True)) for m in models
        }
        for model in models:
            middle = statistics.median(rates[model])
            print(f"{setting:10} {model:7} {middle:7.0f} requests/s, {ratios[model]:5.3f} of hand-written")
        verdict(f"custom batching / hand-written, {setting}", ratios["custom"], BOUND, "x", at_least=True)
    for model in ("hand", "custom", "default"):
        least = min(in_execute(url, model, asker(url, model, 256)) for _ in range(5))
        print(f"in execute at batch 256 by Triton's statistics: {model:8} {least:6.0f} us")


if __name__ == "__main__":
    main()
