import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from serving.doctor.versions import meets, parse_requirements, spelled

NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))
BOUNDS = st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map("".join), max_size=3)


@given(version=NUMBERS, bounds=BOUNDS)
def test_releases_lie_in_a_range_as_packaging_judges_it(version: str, bounds: list[str]):
    specifier = ",".join(bounds)
    assert meets(version, specifier) == SpecifierSet(specifier).contains(Version(version))


def test_a_pre_release_counts_as_its_release():
    assert meets("2.0rc1", ">=2,<3")


@pytest.mark.parametrize(
    ("line", "name", "specifier", "extra"),
    [
        ("Pillow<14,>=12", "pillow", "<14,>=12", ""),
        ("onnxruntime-gpu[cuda,cudnn]<2,>=1.31; extra == 'gpu'", "onnxruntime-gpu", "<2,>=1.31", "gpu"),
        ('ray[serve] (>=2.54) ; extra == "ray"', "ray", ">=2.54", "ray"),
        ("typing_extensions", "typing-extensions", "", ""),
    ],
)
def test_requirements_are_read_as_metadata_writes_them(line: str, name: str, specifier: str, extra: str):
    (requirement,) = parse_requirements([line])
    assert (requirement.name, requirement.specifier, requirement.extra) == (name, specifier, extra)


@pytest.mark.parametrize("name", ["Opencv_Python.Headless", "opencv--python-headless"])
def test_names_are_compared_as_registries_do(name: str):
    assert spelled(name) == "opencv-python-headless"
