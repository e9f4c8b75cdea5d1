"""The collector's end of the socket takes what comes and outlives its senders."""

from __future__ import annotations

import socket

import pytest

from components.inference.inbox import Inbox


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.sock"


@pytest.fixture
def inbox(path):
    opened = Inbox(path)
    yield opened
    opened.close()


def sender(path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(path))
    return connection


def test_messages_of_many_senders_are_read_whole(inbox, path):
    with sender(path) as one, sender(path) as other:
        one.send(b"a" * 1000)
        other.send(b"b")
        one.send(b"c")
        assert sorted(inbox.messages()) == [b"a" * 1000, b"b", b"c"]
        assert list(inbox.messages()) == []


def test_what_a_dead_sender_left_is_read(inbox, path):
    with sender(path) as one:
        one.send(b"last words")
    assert list(inbox.messages()) == [b"last words"]
    assert inbox.wait(0) is False


def test_waiting_ends_when_something_arrives(inbox, path):
    assert inbox.wait(0) is False
    with sender(path) as one:
        one.send(b"x")
        assert inbox.wait(10)


def test_a_socket_left_behind_is_replaced_and_ones_own_removed(path):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.bind(str(path))
    left.close()
    inbox = Inbox(path)
    assert path.stat().st_mode & 0o777 == 0o600
    inbox.close()
    assert not path.exists()


def test_too_many_senders_are_turned_away_and_the_first_are_heard(inbox, path):
    senders = []
    for _ in range(3):
        senders += [sender(path) for _ in range(30)]
        list(inbox.messages())
    senders[0].send(b"first")
    assert list(inbox.messages()) == [b"first"]
    with pytest.raises(OSError, match=r"reset|pipe"):
        senders[-1].send(b"late") and senders[-1].send(b"late")
    for connection in senders:
        connection.close()
