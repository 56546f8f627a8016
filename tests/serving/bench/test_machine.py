import platform
from pathlib import Path

from serving.bench.machine import machine, processor

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: A name that says where it stands
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
vendor_id\t: Another
"""


def test_a_processor_is_its_family_and_instructions():
    assert processor(CPUINFO) == "GenuineIntel, family 6, model 143, avx2, avx512f, avx512_vnni"
    assert processor("") == "unknown"


def test_a_machine_is_described_without_its_name(tmp_path: Path):
    found = machine(tmp_path / "missing")
    assert found["cores"] >= 1
    assert "onnxruntime" in found or "onnxruntime-gpu" in found
    assert platform.node() not in found.values()
