import pytest

from serving.tracing.context import new_trace, read_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_traceparent_is_read_and_written_as_it_came():
    place = read_context(PARENT, "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7")
    assert (place.trace_id, place.span_id, place.sampled) == (TRACE, SPAN, True)
    assert place.headers == (("traceparent", PARENT), ("tracestate", "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7"))


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-more",  # version 00 has four fields
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        PARENT + "\n",
    ],
)
def test_what_is_no_traceparent_begins_no_place(parent: str | None):
    assert read_context(parent) is None


def test_a_later_version_is_read_as_far_as_this_one_goes():
    place = read_context(f"cc-{TRACE}-{SPAN}-ff-what the future brings")
    assert place.headers == (("traceparent", f"00-{TRACE}-{SPAN}-01"),)


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1", True),
        ("a=1,,b=2", True),  # empty members are allowed
        ("tenant@system=x y", True),
        ("a=1,a=2", False),  # a key twice
        ("no equals sign", False),
        ("A=1", False),
        ("a=1\n", False),
        (",".join(f"k{i}=v" for i in range(33)), False),
        ("a=" + "x" * 600, False),
    ],
)
def test_a_tracestate_that_is_none_is_left_away_and_the_trace_stays(state: str, kept: bool):
    place = read_context(PARENT, state)
    assert place.trace_id == TRACE
    assert place.state == (state if kept else "")


@pytest.mark.parametrize("sampled", [True, False])
def test_a_child_stays_in_the_trace_with_a_span_of_its_own(sampled: bool):
    caller = read_context(PARENT, "a=1")
    child = caller.child(sampled=sampled)
    assert (child.trace_id, child.parent_id, child.state) == (TRACE, SPAN, "a=1")
    assert child.span_id not in (SPAN, caller.child(sampled=sampled).span_id)
    assert child.sampled is sampled


def test_traces_of_our_own_are_valid_and_apart():
    first, second = new_trace(sampled=True), new_trace(sampled=True)
    assert first.trace_id != second.trace_id
    assert read_context(first.headers[0][1]) == first
