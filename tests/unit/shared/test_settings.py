"""Settings are read from a mapping, and a wrong one is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidSettings
from shared.settings import Settings, load_settings, touch_health_file
from web.db.database import parse_url


def test_defaults_and_derived_places(tmp_path: Path):
    settings = load_settings({"ATELIER_DATA_DIR": str(tmp_path), "PATH": "/bin", "ATELIER_PORT": ""})
    assert settings.port == 8000
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/atelier.db"
    assert settings.resolved_storage_url == f"file://{tmp_path}/storage"
    assert settings.vgg19_weights == "imagenet"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ATELIER_REDIS_ULR": "x"}, "ATELIER_REDIS_ULR is not a setting; did you mean ATELIER_REDIS_URL?"),
        ({"ATELIER_PORT": "eighty"}, "ATELIER_PORT is 'eighty'"),
        ({"ATELIER_LEASE_SECONDS": "nan"}, "ATELIER_LEASE_SECONDS"),
        ({"ATELIER_MAX_ATTEMPTS": "0"}, "ATELIER_MAX_ATTEMPTS"),
        ({"ATELIER_LEASE_SECONDS": "0.0001"}, "ATELIER_LEASE_SECONDS"),
        ({"ATELIER_WORKER_SECONDS": "1e17"}, "ATELIER_WORKER_SECONDS"),
        ({"ATELIER_RETENTION_DAYS": "1e12"}, "ATELIER_RETENTION_DAYS"),
        ({"ATELIER_GARBAGE_HOURS": "1e12"}, "ATELIER_GARBAGE_HOURS"),
        ({"ATELIER_DISPATCH_SECONDS": "1e300"}, "ATELIER_DISPATCH_SECONDS"),
        ({"ATELIER_DATA_DIR": "~nobody-here/data"}, "'~nobody-here/data': there is no such home folder"),
        ({"ATELIER_DATA_DIR": "b\udce4r"}, "must be text in UTF-8"),
        ({"ATELIER_REDIS_URL": "nonsense"}, "ATELIER_REDIS_URL has no kind; known are redis://"),
        ({"ATELIER_REDIS_URL": "http://h"}, "begins with 'http://'; known are"),
        ({"ATELIER_REDIS_URL": "redis+socket:///s"}, "for 'redis+socket' write unix:///PATH"),
        ({"ATELIER_REDIS_URL": "REDIS://h"}, "for 'REDIS' write redis://"),
        ({"ATELIER_REDIS_URL": "redis://h:abc"}, "a port that is no number"),
        ({"ATELIER_REDIS_URL": "redis://h:65536"}, "a port that is no number"),
        ({"ATELIER_REDIS_URL": "redis://h:0"}, "the port 0"),
        ({"ATELIER_REDIS_URL": "redis://[::1"}, "a bracket too many"),
        ({"ATELIER_REDIS_URL": "redis://h/one"}, "asks for the database 'one'"),
        ({"ATELIER_REDIS_URL": "unix://"}, "names no socket"),
        ({"ATELIER_REDIS_URL": "unix://tmp/s"}, "with three slashes"),
        ({"ATELIER_REDIS_URL": "unix:///s?db=x"}, "asks for the database 'x'"),
        ({"ATELIER_RENEW_SECONDS": "30"}, "ATELIER_RENEW_SECONDS is 30: it must be less than ATELIER_LEASE"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], words: str):
    with pytest.raises(InvalidSettings, match=re.escape(words)):
        load_settings(environ)


@pytest.mark.parametrize("url", ["redis://:se/cret@h:1", "rediss://u:secret@h:x", "http://u:secret@h"])
def test_a_wrong_address_of_redis_is_not_shown(url: str):
    """Its password would be in the log."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings({"ATELIER_REDIS_URL": url})
    assert "cret" not in caught.value.detail


@pytest.mark.parametrize(
    "url", ["redis://", "redis://h", "redis:///3", "rediss://u:p%2Fw@h:1/0", "unix:///a b"]
)
def test_addresses_of_redis(url: str):
    assert load_settings({"ATELIER_REDIS_URL": url}).redis_url == url


def test_without_a_home_the_cache_is_in_the_data_folder(tmp_path: Path):
    script = "from shared.settings import Settings; print(Settings(data_dir='/d').cache_dir)"
    environ = {name: value for name, value in os.environ.items() if name != "HOME"}
    # Of this user there is an entry in passwd; the look-up of it is all that is taken away.
    script = f"import pwd; pwd.getpwuid = {{}}.__getitem__; {script}"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "/d/cache\n"


def test_a_folder_may_be_called_anything(tmp_path: Path):
    folder = tmp_path / "a b%41?#ü"
    settings = load_settings({"ATELIER_DATA_DIR": str(folder)})
    assert parse_url(settings.resolved_database_url).database == str(folder / "atelier.db")
    assert load_settings({"ATELIER_HOST": "[::1]"}).host == "::1"


def test_a_health_file_that_cannot_be_touched_ends_nobody(tmp_path: Path):
    touch_health_file(Settings(health_file=str(tmp_path / "missing" / "file")))
    touch_health_file(Settings(health_file=str(tmp_path / "file")))
    assert (tmp_path / "file").exists()


def test_settings_survive_the_environment(tmp_path: Path):
    settings = Settings(data_dir=tmp_path, port=1234, lease_seconds=2.5, renew_seconds=1)
    assert load_settings(settings.to_environ()) == settings


def test_a_lost_worker_is_seen_to_within_a_lease_and_five_seconds():
    """What docs/reliability.md promises; the round of control in which it happens needs a moment, too."""
    settings = Settings()
    round_seconds = settings.dispatch_seconds + 1
    assert settings.rescue_seconds + round_seconds < 5
    # Two renewals may fail before a lease is lost.
    assert settings.lease_seconds > 3 * settings.renew_seconds
