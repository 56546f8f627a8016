import ast
import re
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
BREACHES = [  # package, what it imports, the contract that this breaks
    ("export", "serving.client", "data flows one way"),
    ("serving", "export.zoo", "data flows one way"),
    ("pipelines", "serving", "data flows one way"),
    ("pipelines", "protos", "data flows one way"),
    ("export", "protos", "export never speaks the wire"),
    ("export", "grpc", "export never speaks the wire"),
    ("serving", "torch", "torch stays in export"),
    ("serving", "onnx", "torch stays in export"),
    ("pipelines", "asyncio", "pipelines is plain numpy"),
    ("pipelines", "torch", "pipelines is plain numpy"),
]
OURS_FOR_CLIENTS = {
    "pipelines",
    "pipelines.decisions",
    "pipelines.errors",
    "pipelines.polygons",
    "pipelines.rle",
    "pipelines.tile_options",
    "pipelines.types",
}
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


@pytest.fixture(scope="module")
def broken_report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a project that breaks every rule once, by our configuration."""
    root = tmp_path_factory.mktemp("broken")
    for package in ("export", "export/zoo", "pipelines", "protos", "serving", "serving/client"):
        (root / package).mkdir()
        (root / package / "__init__.py").touch()
    for number, (package, module, _) in enumerate(BREACHES):
        (root / package / f"breach_{number}.py").write_text(f"import {module}\n")
    done = lint_imports(ROOT / "pyproject.toml", root)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_breaks_when_its_rules_do(contract: str, broken_report: str):
    assert f"{contract} BROKEN" in broken_report


@pytest.mark.parametrize(
    ("number", "breach"), list(enumerate(BREACHES)), ids=[f"{a} imports {b}" for a, b, _ in BREACHES]
)
def test_a_forbidden_import_is_named_under_its_contract(number: int, breach: tuple[str, str, str], broken_report: str):
    package, module, contract = breach
    details = broken_report.split("Broken contracts", 1)[1]
    parts = re.split(rf"^({'|'.join(CONTRACTS)})$", details, flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert f"{package}.breach_{number} -> {module}" in named[contract]


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
