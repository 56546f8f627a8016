import socket

from examples.tour import free_port


def test_the_port_that_is_wanted_is_taken_where_it_is_free():
    wanted = free_port()
    assert free_port(wanted) == wanted


def test_another_port_is_taken_where_the_wanted_one_is_not_free():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        wanted = busy.getsockname()[1]
        assert free_port(wanted) not in (0, wanted)
