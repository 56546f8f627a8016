import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files_left_by(code: str, home: Path) -> set[str]:
    """Run Python code with ``home`` as the home folder and no CI variable; returns the files it left there."""
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, check=True)
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_the_runtime_keeps_no_device_id_and_no_queue_of_reports(tmp_path: Path):
    # Seen on onnxruntime 1.31: its import alone leaves `.cache/Microsoft/.../deviceid` and a queue of events.
    assert files_left_by("import pipelines.session", tmp_path / "ours") == set()


def test_a_users_own_choice_about_reports_stays():
    code = "import os, pipelines; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"
