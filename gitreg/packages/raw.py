"""The raw package: a model with its schema, samples, code and requirements, for any Python process.

<model>/0/metadata/{type,schema,sample_data,download}.yaml, lineage.yaml where it is known
<model>/0/model/                       the artifact
<model>/0/defs/model_class.txt         and the bundled modules
<model>/0/dependencies/requirements.txt

and, where the manifest has them, metadata/serving.yaml with the code of the service in service/, and
metadata/reference.yaml in the place of an artifact.
"""

from __future__ import annotations

from gitreg import elements
from gitreg.declared import Contents
from gitreg.packages import Parts, carried, schema_data, yaml_bytes


def contents(parts: Parts) -> Contents:
    """Every file of a raw package but its record."""
    top = f"{parts.ordinal}/"
    files: Contents = {
        f"{top}metadata/type.yaml": yaml_bytes(
            {"type": parts.type, **({"image": parts.image} if parts.image else {})}
        ),
        f"{top}metadata/schema.yaml": yaml_bytes(schema_data(parts.schema)),
        f"{top}metadata/sample_data.yaml": yaml_bytes(
            [{name: elements.plain(array) for name, array in sample.items()} for sample in parts.samples]
        ),
        f"{top}dependencies/requirements.txt": "".join(f"{line}\n" for line in parts.requirements).encode(),
    }
    if parts.lineage:
        files[f"{top}metadata/lineage.yaml"] = yaml_bytes(parts.lineage)
    if parts.serving:
        files[f"{top}metadata/serving.yaml"] = yaml_bytes(parts.serving)
    if parts.reference:
        files[f"{top}metadata/reference.yaml"] = yaml_bytes(parts.reference)
    files |= {f"{top}service/{path}": data for path, data in parts.service.items()}
    if parts.entry:
        files[f"{top}defs/model_class.txt"] = parts.entry.encode()
        files |= carried(parts, lambda path: f"{top}defs/{path}")
    return files | {f"{top}model/{path}": link for path, link in parts.artifact.files.items()}
