"""Run in an environment with the Prometheus operator's models: what they read must be all that a manifest says."""

import json
import sys
from pathlib import Path

import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from pydantic import ValidationError

MODELS = {"PrometheusRule": PrometheusRule, "ServiceMonitor": ServiceMonitor}

written = yaml.safe_load(Path(sys.argv[1]).read_text())
try:
    read = MODELS[written["kind"]].model_validate(written).model_dump(by_alias=True, exclude_unset=True, mode="json")
    report = {"problems": [], "read": read, "written": written}
except ValidationError as error:
    report = {"problems": str(error).splitlines()}
sys.stdout.write(json.dumps(report))
