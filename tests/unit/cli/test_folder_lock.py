"""The lock on a data folder, and the test of a port."""

from __future__ import annotations

import os
import socket

import pytest

from web.cli.local.host import FolderLock, free_port, require_free_port
from web.cli.output import UpRefused


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path):
    with (
        FolderLock(tmp_path / "data", holder="another 'atelier up'"),
        pytest.raises(UpRefused, match=rf"in use by another 'atelier up' \(process {os.getpid()}\)"),
        FolderLock(tmp_path / "data", holder="me too"),
    ):
        pass


def test_a_lock_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with FolderLock(tmp_path, holder="one"):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UpRefused, match="file/data cannot be used"),
        FolderLock(tmp_path / "file/data", holder="x"),
    ):
        pass


def test_a_taken_port_is_refused_with_its_number():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UpRefused, match=f"port {port} on 127.0.0.1 is taken"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", free_port())


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(UpRefused, match=r"cannot listen on 192\.0\.2\.1"):
        require_free_port("192.0.2.1", free_port())
