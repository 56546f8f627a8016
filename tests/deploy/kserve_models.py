"""Run in an environment with KServe's SDK: hold manifests to its models, key by key and type by type."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve.models
import kubernetes.client.models
import yaml

KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}
FREE = {"datetime", "IntOrString", "ResourceQuantity"}


def problems(value: Any, kind: str, path: str) -> Iterator[str]:
    """Say where ``value`` is not of the type that a model's source names."""
    if listed := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{path} must be a list, got {value!r}"
            return
        for number, item in enumerate(value):
            yield from problems(item, listed[1], f"{path}[{number}]")
    elif mapped := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", kind):
        for key, item in value.items():
            yield from problems(item, mapped[1], f"{path}.{key}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            yield f"{path} must be {kind}, got {value!r}"
    elif kind not in FREE:
        model = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
        attributes = {key: name for name, key in model.attribute_map.items()}
        for key, item in value.items():
            if key in attributes:
                yield from problems(item, model.openapi_types[attributes[key]], f"{path}.{key}")
            else:
                yield f"{path}.{key} is unknown to {kind}"


def main() -> None:
    """Write all problems of the files that the command line names."""
    documents = [document for name in sys.argv[1:] for document in yaml.safe_load_all(Path(name).read_text())]
    found = [line for document in documents for line in problems(document, KINDS[document["kind"]], document["kind"])]
    sys.stdout.write(json.dumps({"checked": [document["kind"] for document in documents], "problems": found}))


main()
