import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = [
    "data flows one way",
    "export never speaks the wire",
    "torch stays in export",
    "pipelines is plain numpy",
]
OURS_FOR_CLIENTS = {"pipelines", "pipelines.errors", "pipelines.types"}
HEAVY_FOR_CLIENTS = {"onnx", "onnxruntime", "pydantic", "starlette", "torch", "uvicorn"}


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def lint_imports(config: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with ``config`` on the packages under ``root``."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-logo", "--no-cache", "--config", str(config)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_contracts_are_the_four_of_the_architecture():
    assert [contract["name"] for contract in project()["contracts"]] == CONTRACTS


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("export", "import serving.client", "data flows one way"),
        ("serving", "import export.zoo", "data flows one way"),
        ("pipelines", "import serving", "data flows one way"),
        ("pipelines", "import protos", "data flows one way"),
        ("export", "import protos", "export never speaks the wire"),
        ("export", "import grpc", "export never speaks the wire"),
        ("serving", "import torch", "torch stays in export"),
        ("serving", "import onnx", "torch stays in export"),
        ("pipelines", "import asyncio", "pipelines is plain numpy"),
        ("pipelines", "import torch", "pipelines is plain numpy"),
    ],
)
def test_a_contract_breaks_when_its_rule_does(module: str, line: str, broken: str, tmp_path: Path):
    for package in ("export", "export/zoo", "pipelines", "protos", "serving", "serving/client"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / module / "breaks.py").write_text(line + "\n")
    done = lint_imports(ROOT / "pyproject.toml", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{broken} BROKEN" in done.stdout


def test_the_project_keeps_its_contracts():
    done = lint_imports(ROOT / "pyproject.toml", ROOT)
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout, done.stdout + done.stderr


def test_the_command_itself_imports_neither_torch_nor_onnx():
    tree = ast.parse((ROOT / "ocella.py").read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} & {"onnx", "onnxscript", "torch", "torchvision"} == set()


def test_the_client_imports_only_the_protocol_the_results_and_the_errors():
    code = "import sys, serving.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "serving.client" in loaded
    assert {name for name in loaded if name.split(".")[0] == "pipelines"} == OURS_FOR_CLIENTS
    assert {name for name in loaded if name.startswith("serving.") and not name.startswith("serving.client")} == set()
    assert {name for name in loaded if name.startswith("export")} == set()
    assert loaded & HEAVY_FOR_CLIENTS == set()
