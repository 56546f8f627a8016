import pytest

from serving.catalog import LOADING
from serving.ray.standing import Standing, State

ANSWERS = State(1, settled=True, reason="")
LOADS = State()
BROKEN = State(0, settled=True, reason="recipe changed")
# What Ray makes of an error in a health check, shortened.
PAGE = """The deployment failed to start 2 times in a row. Error:
ray::ServeReplica:main.initialize_and_get_metadata() (pid=1, ip=127.0.0.1)
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "/app/serving/ray/replica.py", line 104, in check_health
    raise ModelNotReadyError(self._problem)
pipelines.errors.ModelNotReadyError: no model could be loaded: cats 1: recipe changed
"""


@pytest.mark.parametrize(
    ("status", "replicas", "message", "state"),
    [
        ("UPDATING", 0, "", State(0, settled=False, reason=LOADING)),
        ("UPDATING", 1, "", ANSWERS),  # a rolling update: the old replica answers
        ("HEALTHY", 2, "", State(2, settled=True, reason="")),
        ("HEALTHY", 0, "", State(0, settled=True, reason="")),  # nothing is asked; a request brings a replica
        ("DEPLOY_FAILED", 1, PAGE, ANSWERS),  # what was there before goes on
        ("DEPLOY_FAILED", 0, PAGE, State(0, settled=True, reason="no model could be loaded: cats 1: recipe changed")),
        ("UNHEALTHY", 0, "first line\nsecond", State(0, settled=True, reason="first line")),
        ("UNHEALTHY", 0, "", State(0, settled=True, reason="its replicas do not start")),
    ],
)
def test_what_ray_says_is_put_into_our_words(status: str, replicas: int, message: str, state: State):
    assert State.of(status, replicas=replicas, message=message) == state


@pytest.mark.parametrize(
    ("states", "serving"),
    [
        ({}, False),
        ({"a": LOADS}, False),
        ({"a": ANSWERS, "b": LOADS}, False),
        ({"a": ANSWERS, "b": BROKEN}, True),
        ({"a": BROKEN}, False),
    ],
)
def test_the_server_answers_once_each_model_was_tried_and_one_does(states: dict[str, State], serving: bool):
    standing = Standing()
    standing.put(states)
    assert standing.is_serving("") is serving


def test_a_model_is_known_by_its_own_state():
    standing = Standing()
    standing.put({"a": ANSWERS, "b": BROKEN})
    assert [standing.is_serving(name) for name in ("a", "b", "c")] == [True, False, None]


async def test_those_who_watch_are_told_of_each_change_and_of_the_end():
    standing = Standing()
    standing.put({"a": LOADS})
    states = standing.states("a")
    assert await anext(states) is False
    standing.put({"a": ANSWERS})
    assert await anext(states) is True
    standing.put({"a": ANSWERS, "b": BROKEN})  # nothing new of a
    standing.end()
    assert [state async for state in states] == [False]
