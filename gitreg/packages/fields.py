"""Which fields of Triton's ModelConfig a model may set, and which values: an allow-list of the whole message.

Triton and its backends read files, load libraries and start commands that this message names. A package's
digests cover the package alone, so nothing in its config.pbtxt may name anything outside of it. A field that
this list does not decide, as one of a newer tritonclient, is refused. docs/serve.md prints the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]

WARMUP, INITIAL_STATE = "warmup", "initial_state"
# Folders of a package, beside config.pbtxt, whose files the message names.
FOLDERS = {
    "model_warmup.inputs.input_data_file": WARMUP,
    "sequence_batching.state.initial_state.data_file": INITIAL_STATE,
}
MOST_INSTANCES = 256  # each is a process, or a copy of the model
MOST_ENTRIES = 1000  # of a list or mapping in a manifest
MOST_VALUES = 1 << 28  # of one warm-up request or state
_HOUR = 3_600_000_000  # in microseconds


@dataclass(frozen=True)
class Setting:
    """One value of a message.

    Attributes:
        field: dotted, without the places in lists and the keys of mappings.
        place: where it stands, with these.
        value: of an entry of a mapping, the entry's.
    """

    field: str
    place: Place
    value: Any

    @property
    def key(self) -> str:
        """The key of an entry of a mapping, which its place ends in."""
        return str(self.place[-1])


@dataclass(frozen=True)
class Around:
    """What settings are judged against.

    Attributes:
        backend: Triton's name of the backend that the package is for; empty where it is one of Triton's own
            and not known yet.
        files: every path of the package; None for a manifest, whose package is not made yet.
        ordinal: the package's version folder.
        artifact: the place of the artifact below that.
    """

    backend: str = "python"
    files: frozenset[str] | None = None
    ordinal: int = 0
    artifact: str = "model"


@dataclass(frozen=True)
class Rule:
    """When a value is allowed.

    Attributes:
        says: the rule in words; empty for any value.
        judge: what is wrong with a value, or None.
    """

    says: str
    judge: Callable[[Setting, Around], str | None]


# Rules -----------------------------------------------------------------------------------------

ANY = Rule("", lambda setting, around: None)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")


def _number(most: int, least: int = 0) -> Rule:
    def judge(setting: Setting, _: Around) -> str | None:
        return (
            None if least <= setting.value <= most else f"{setting.value:,} is not from {least:,} to {most:,}"
        )

    return Rule(f"from {least:,} to {most:,}", judge)


def _is_name(setting: Setting, _: Around) -> str | None:
    # Triton's Python backend writes names into a command that a shell reads.
    if _NAME.match(setting.value) and ".." not in setting.value:
        return None
    return f"{setting.value!r} is not a name of letters, digits, '_', '.' and '-'"


def _is_text(setting: Setting, _: Around) -> str | None:
    text = setting.value if isinstance(setting.value, str) else setting.key
    if len(text) > 1024:
        return f"has {len(text):,} characters; at most 1,024 are allowed"
    return f"{text!r} has control characters" if _CONTROL.search(text) else None


def _keyed_by_text(setting: Setting, around: Around) -> str | None:
    """Of a mapping of text to text, both."""
    return _is_text(setting, around) or _is_text(Setting(setting.field, setting.place, setting.key), around)


NAME = Rule("letters, digits, `_`, `.` and `-`", _is_name)
TEXT = Rule("text without control characters", _is_text)
TEXTS = Rule("text without control characters", _keyed_by_text)


def leads_out(text: str) -> str | None:
    """Why a path does not lie below the folder that it is relative to, or None."""
    if not text:
        return "an empty path"
    if "\\" in text or _CONTROL.search(text):
        return f"{text!r}: write paths with forward slashes, and without control characters"
    if text.startswith(("/", "~")) or re.match(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://", text):
        return f"{text!r} is not a relative path"
    parts = text.split("/")
    if ".." in parts:
        return f"{text!r} leads out of its folder"
    if not all(parts) or "." in parts or "$" in text:
        return f"{text!r} is not a plain relative path"
    return None


def _in_folder(setting: Setting, around: Around) -> str | None:
    if reason := leads_out(setting.value):
        return reason
    path = f"{FOLDERS[setting.field]}/{setting.value}"
    return None if around.files is None or path in around.files else f"the package has no file {path}"


FILE = Rule("a file in `{}/` beside the manifest, which the package carries", _in_folder)

# Parameters ------------------------------------------------------------------------------------

# Read by Triton or its backends; whatever else there is, is the model's own business.
PARAMETERS = {
    "EXECUTION_ENV_PATH": "names an archive that the server unpacks, and whose `activate` a shell runs",
    "TF_INIT_OPS_FILE": "names a file of operations that the server runs",
    "TRITON_*": "Triton's own, as TRITON_BATCH_STRATEGY_PATH: a library that the server loads",
    "gitreg.*": "gitreg's own",
}


def _parameter(setting: Setting, around: Around) -> str | None:
    """Whether a parameter may be set at all."""
    name = setting.key.upper()
    if _CONTROL.search(setting.key) or len(setting.key) > 256:
        return "the name of a parameter is up to 256 characters, and none that controls"
    if name.startswith("GITREG."):
        return _own_parameter(setting, around)
    for refused, reason in PARAMETERS.items():
        if name == refused or (refused.endswith("*") and name.startswith(refused[:-1])):
            return reason
    return None


def _own_parameter(setting: Setting, around: Around) -> str | None:
    """What gitreg writes itself into packages for the Python backend, as a package has it."""
    if around.files is None:
        return "names that start with 'gitreg.' are gitreg's own"
    value = setting.value.string_value
    if setting.key.lower() == "gitreg.artifact":
        right = setting.key == "gitreg.artifact" and value == around.artifact
        return None if right else f"names {value!r}, and the package's artifact is {around.artifact!r}"
    return None


_FILE_LIKE = re.compile(r"\.[A-Za-z]\w*\Z")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z", re.ASCII)


def _parameter_value(setting: Setting, around: Around) -> str | None:
    """Whether the value of a parameter names something outside of the package."""
    text = setting.value
    if len(text) > 65_536 or "\0" in text:
        return "is longer than 65,536 characters, or has a NUL"
    if str(setting.place[-2]).upper().startswith("GITREG."):
        return None
    if text.startswith(("/", "\\", "~/", "file:")) or re.match(r"[A-Za-z]:[\\/]", text):
        return f"{_short(text)} names a file outside of the package"
    if ".." in re.split(r"[\\/]", text) or "$$" in text:
        return f"{_short(text)} leads out of the package"
    if around.backend == "python" or _NUMBER.match(text):
        return None
    if re.search(r"[\\/]", text) or _FILE_LIKE.search(text):
        return f"{_short(text)} may name a file; a parameter for Triton's own backends is a word or a number"
    return None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:77]!r}..."


_SWITCHES = (
    "cudnn_conv_use_max_workspace do_copy_in_default_stream enable_opencl_throttling "
    "int8_use_native_calibration_table is_dynamic_op trt_build_heuristics_enable "
    "trt_context_memory_sharing_enable trt_cuda_graph_enable trt_detailed_build_log trt_dla_enable "
    "trt_engine_cache_enable trt_force_sequential_engine_build trt_force_timing_cache "
    "trt_layer_norm_fp32_fallback trt_sparsity_enable trt_timing_cache_enable use_ep_level_unified_stream"
)
_NUMBERS = (
    "arena_extend_strategy cudnn_conv_algo_search device_id gpu_mem_limit max_cached_engines "
    "max_workspace_size_bytes minimum_segment_size num_of_threads num_streams trt_auxiliary_streams "
    "trt_builder_optimization_level trt_dla_core trt_max_partition_iterations trt_min_subgraph_size"
)
_SHAPES = "trt_profile_min_shapes trt_profile_max_shapes trt_profile_opt_shapes"
# The parameters of accelerators that name no file, each with what it may be.
ACCELERATOR = {
    **dict.fromkeys(_SWITCHES.split(), r"0|1|true|false|True|False"),
    **dict.fromkeys(_NUMBERS.split(), r"-?[0-9]{1,20}"),
    **dict.fromkeys(_SHAPES.split(), r"[\w./:,-]{1,10000}"),
    "device_type": r"[A-Z][A-Z0-9_.]{0,40}",
    "precision_mode": r"[A-Z0-9]{1,20}",
    "trt_tactic_sources": r"[A-Z_,+-]{1,400}",
}
_ACCELERATORS = ("auto_mixed_precision", "cuda", "gpu_io", "openvino", "tensorrt")


def _accelerator(setting: Setting, _: Around) -> str | None:
    known = setting.value in _ACCELERATORS
    return None if known else f"{setting.value!r} is none of {', '.join(_ACCELERATORS)}"


def _accelerator_parameter(setting: Setting, _: Around) -> str | None:
    pattern = ACCELERATOR.get(setting.key)
    if pattern is None:
        return "is not known to name no file; paths of caches, tables and libraries are the server's own"
    return None if re.fullmatch(pattern, setting.value) else f"{_short(setting.value)} is not what it takes"


# The list --------------------------------------------------------------------------------------


def _under(prefix: str, **rules: Rule) -> dict[str, Rule]:
    return {f"{prefix}.{name}".removesuffix("."): rule for name, rule in rules.items()}


def _all(prefix: str, names: str) -> dict[str, Rule]:
    return {f"{prefix}.{name}": ANY for name in names.split()}


_ACCELERATED = "optimization.execution_accelerators."
_SEQUENCE = "sequence_batching."
_QUEUE = "timeout_action default_timeout_microseconds allow_timeout_override max_queue_size"

ALLOWED: dict[str, Rule] = {
    **_all("version_policy", "all latest.num_versions specific.versions"),
    **_all("batch_input", "kind data_type"),
    **_under("batch_input", target_name=TEXT, source_input=TEXT),
    **_all("batch_output", "kind"),
    **_under("batch_output", target_name=TEXT, source_input=TEXT),
    **_all("optimization", "graph.level priority input_pinned_memory.enable output_pinned_memory.enable"),
    **_all("optimization", "gather_kernel_buffer_threshold eager_batching"),
    **_all("optimization.cuda", "graphs busy_wait_events output_copy_stream graph_spec.batch_size"),
    **_all("optimization.cuda", "graph_spec.input.dim graph_spec.graph_lower_bound.batch_size"),
    **_all("optimization.cuda", "graph_spec.graph_lower_bound.input.dim"),
    **_under("optimization.cuda.graph_spec", input=TEXT),
    **_under("optimization.cuda.graph_spec.graph_lower_bound", input=TEXT),
    **{
        f"{_ACCELERATED}{where}_execution_accelerator.{name}": rule
        for where in ("gpu", "cpu")
        for name, rule in (
            ("name", Rule(f"one of {', '.join(_ACCELERATORS)}", _accelerator)),
            ("parameters", Rule("those that name no file", _accelerator_parameter)),
        )
    },
    **_all("dynamic_batching", "preferred_batch_size preserve_ordering default_priority_level"),
    **_under(
        "dynamic_batching",
        max_queue_delay_microseconds=_number(_HOUR),
        priority_levels=_number(MOST_ENTRIES),
        priority_queue_policy=ANY,
    ),
    **_all("dynamic_batching.default_queue_policy", _QUEUE),
    **_all("dynamic_batching.priority_queue_policy", _QUEUE),
    **_all("sequence_batching", "direct.minimum_slot_utilization oldest.preferred_batch_size"),
    **_all("sequence_batching", "oldest.preserve_ordering max_sequence_idle_microseconds iterative_sequence"),
    f"{_SEQUENCE}direct.max_queue_delay_microseconds": _number(_HOUR),
    f"{_SEQUENCE}oldest.max_queue_delay_microseconds": _number(_HOUR),
    f"{_SEQUENCE}oldest.max_candidate_sequences": _number(65_536),
    f"{_SEQUENCE}control_input.name": TEXT,
    **_all(f"{_SEQUENCE}control_input.control", "kind int32_false_true fp32_false_true bool_false_true"),
    **_all(f"{_SEQUENCE}control_input.control", "data_type"),
    **_under(f"{_SEQUENCE}state", input_name=TEXT, output_name=TEXT),
    **_all(f"{_SEQUENCE}state", "data_type dims use_same_buffer_for_input_output use_growable_memory"),
    **_all(f"{_SEQUENCE}state.initial_state", "data_type dims zero_data"),
    **_under(f"{_SEQUENCE}state.initial_state", data_file=FILE, name=TEXT),
    **_all("instance_group", "kind gpus passive secondary_devices.kind secondary_devices.device_id"),
    **_under("instance_group", name=NAME, host_policy=NAME, profile=NAME, count=_number(MOST_INSTANCES)),
    **_all("instance_group.rate_limiter", "resources.global priority"),
    **_under("instance_group.rate_limiter.resources", name=NAME, count=_number(1_000_000)),
    "metric_tags": TEXTS,
    "parameters": Rule("names that nothing in Triton obeys, or that name no file", _parameter),
    "parameters.string_value": Rule("no path out of the package", _parameter_value),
    "model_warmup.name": TEXT,
    "model_warmup.batch_size": _number(65_536),
    "model_warmup.count": _number(MOST_ENTRIES),
    "model_warmup.inputs": TEXT,
    **_all("model_warmup.inputs", "data_type dims zero_data random_data"),
    "model_warmup.inputs.input_data_file": FILE,
    "model_transaction_policy.decoupled": ANY,
    "response_cache.enable": ANY,
    "model_metrics.metric_control.metric_identifier.family": TEXT,
    "model_metrics.metric_control.histogram_options.buckets": ANY,
}

# What the manifest says elsewhere; a fragment that said it again could contradict it.
OWNED = {
    "name": "name",
    "backend": "type",
    "platform": "type",
    "input": "schema.inputs",
    "output": "schema.outputs",
    "max_batch_size": "batching.max_batch_size",
}

REFUSED = {
    "cc_model_filenames": "names files to run on some GPUs in place of the one that was tested",
    "default_model_filename": "gitreg sets it: another file would run in place of the one that was tested",
    "ensemble_scheduling": "names other models, which no digest of this one covers",
    "model_operations": "names libraries that the server loads into itself",
    "model_repository_agents": "names libraries that the server loads, and what they do with the package",
    "output.label_filename": "names a file, and packages carry no labels",
    "runtime": "names a library or a file that the server runs in the place of the backend",
}


def _backend(setting: Setting, around: Around) -> str | None:
    return None if setting.value == around.backend else f"{setting.value!r}; {around.backend!r} was expected"


def _platform(setting: Setting, around: Around) -> str | None:
    known = {
        "onnxruntime": ("onnxruntime_onnx",),
        "pytorch": ("pytorch_libtorch",),
        "tensorflow": ("tensorflow_savedmodel", "tensorflow_graphdef"),
    }
    fits = setting.value in known.get(around.backend, ())
    return None if fits else f"{setting.value!r} is no platform of the backend {around.backend!r}"


def _model_file(setting: Setting, around: Around) -> str | None:
    if around.backend == "python":
        return None if setting.value == "model.py" else f"{setting.value!r}; 'model.py' was expected"
    place = f"{around.ordinal}/{setting.value}"
    there = any(path == place or path.startswith(f"{place}/") for path in around.files or ())
    return leads_out(setting.value) or (None if there else f"the package has no file {place}")


# What gitreg itself writes into config.pbtxt, as a package has it: manifests cannot say it.
WRITTEN: dict[str, Rule] = {
    "name": NAME,
    "backend": Rule("", _backend),
    "platform": Rule("", _platform),
    "default_model_filename": Rule("", _model_file),
    "max_batch_size": ANY,
    **_under("input", name=TEXT),
    **_all("input", "data_type format dims reshape.shape is_shape_tensor allow_ragged_batch optional"),
    **_all("input", "is_non_linear_format_io"),
    **_under("output", name=TEXT),
    **_all("output", "data_type dims reshape.shape is_shape_tensor is_non_linear_format_io"),
}


def decided(name: str) -> bool:
    """Whether the list says something of a field, by its dotted name."""
    return (
        name in ALLOWED
        or name in WRITTEN
        or any(name == one or name.startswith(f"{one}.") for one in REFUSED)
    )


# Words -----------------------------------------------------------------------------------------


def tables() -> str:
    """The list as docs/serve.md prints it: what is refused and why, then what is allowed and how."""
    refused = [f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items())]
    refused += [f"| `parameters`: `{name}` | {reason} |" for name, reason in sorted(PARAMETERS.items())]
    groups: dict[tuple[str, str], list[str]] = {}
    for name, rule in sorted(ALLOWED.items()):
        top, _, rest = name.partition(".")
        says = rule.says.format(FOLDERS.get(name, "")) or "any value"
        groups.setdefault((top, says), []).append(rest or top)
    allowed = [
        f"| `{top}` | {', '.join(f'`{one}`' for one in names if one != top) or 'keys'} | {says} |"
        for (top, says), names in groups.items()
    ]
    return "\n".join(
        [
            "| refused | why |",
            "|---|---|",
            *refused,
            "",
            "| allowed | fields | values |",
            "|---|---|---|",
            *allowed,
        ]
    )
