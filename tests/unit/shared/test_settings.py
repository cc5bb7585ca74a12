"""Settings are read from a mapping, and a wrong one is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from kombu import Connection

from shared.errors import InvalidSettings
from shared.redis.connection import broker_url, connect_redis
from shared.settings import Settings, bucket_of, load_settings, touch_health_file
from shared.storage import store_of
from web.db.database import Database, parse_url


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
        ({"ATELIER_REDIS_URL": "redis://h/0?db=5"}, "asks for two databases, '0' and '5'"),
        ({"ATELIER_REDIS_URL": "redis://h?colour=red"}, "has a parameter that is none: 'colour'; known are"),
        ({"ATELIER_REDIS_URL": "redis://h?password=x"}, "write both before an @"),
        ({"ATELIER_REDIS_URL": "redis://h?ssl_cert_reqs=none"}, "with TLS it begins with rediss://"),
        ({"ATELIER_REDIS_URL": "redis://h?protocol=9"}, "asks for another protocol than 2 and 3"),
        ({"ATELIER_REDIS_URL": "redis://h#0"}, "has a #; in a password, write it as %23"),
        ({"ATELIER_REDIS_URL": f"redis://{'a' * 64}"}, "names a host that cannot be one"),
        ({"ATELIER_REDIS_URL": "redis://h "}, "ATELIER_REDIS_URL: there is a space at an end of it"),
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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "0", "is '0': allowed is a whole number from 1 up to 65535"),
        ("PORT", "70000", "is '70000': allowed is a whole number from 1 up to 65535"),
        ("PORT", "80.5", "is '80.5': allowed is a whole number"),
        ("MAX_UPLOAD_BYTES", "-1", "is '-1': allowed is a whole number from 1 up to 9007199254740991"),
        ("MIN_FREE_BYTES", "1GB", "is '1GB': allowed is a whole number from 0"),
        ("MAX_PIXELS", "9" * 30, "allowed is a whole number from 1 up to 9007199254740991"),
        ("LEASE_SECONDS", "inf", "is 'inf': allowed is a number from 0.1 up to 604800"),
        ("PREVIEW_SECONDS", "0", "is '0': allowed is a number above 0 up to 604800"),
        ("RETENTION_DAYS", "nan", "is 'nan': allowed is a number from 0"),
        ("LOG_LEVEL", "INFO", "is 'INFO': allowed are debug, info, warning, error"),
        ("HOST", "http://h", "is 'http://h': allowed is an address such as 127.0.0.1"),
        ("HOST", "127.0.0.1:80", "the port is ATELIER_PORT"),
        ("HOST", "a" * 64, "allowed is an address"),
        ("DATA_DIR", " /data", "is ' /data': there is a space at an end of it"),
        ("DATA_DIR", "file:///data", "a folder is written as its path"),
        ("CACHE_DIR", "/a\nb", "without control characters"),
        ("HEALTH_FILE", "a\0b", "without control characters"),
        ("HEALTH_FILE", "~nobody-here/health", "there is no such home folder"),
        ("VGG19_WEIGHTS", "ImageNet", "write 'imagenet', or ./ImageNet for a file"),
        ("VGG19_WEIGHTS", "https://h/vgg19.h5", "ATELIER_VGG19_WEIGHTS_URL is for an address"),
        ("VGG19_WEIGHTS_URL", "ftp://h/x", "begins with http:// or https://"),
        ("VGG19_WEIGHTS_HASH", "abc", "is 'abc': allowed are 32 hex digits (MD5) or 64 (SHA-256)"),
        ("FAST_MODEL", "Packaged", "write 'packaged', or ./ before the name of a file"),
        ("FAST_MODEL", "s3://bucket/model", "an address begins with http:// or https://"),
        ("FAST_MODEL_HASH", "0" * 32, "allowed are 64 hex digits (SHA-256)"),
        ("STORAGE_URL", "file:relative", "with the whole path from / on"),
        ("STORAGE_URL", "file://host/path", "with two, 'host' is a machine"),
        ("STORAGE_URL", "file://~/path", "with two, '~' is a machine"),
        ("STORAGE_URL", "/a path", "for this folder write file:///a%20path"),
        ("STORAGE_URL", "ftp://host/path", "allowed is file:///path/of/a/folder, or s3://bucket/prefix"),
        ("STORAGE_URL", "s3:bucket", "allowed is s3://bucket/prefix"),
        ("STORAGE_URL", "s3://a", "a bucket's name has 3 to 63 letters"),
        ("STORAGE_URL", "s3://key:secret@bucket/x", "a bucket's name has"),
        ("STORAGE_URL", "s3://bucket/a//b", "no part of the prefix is empty or dots"),
        ("STORAGE_URL", "s3://bucket/../b", "no part of the prefix is empty or dots"),
        ("STORAGE_URL", "s3://bucket/a?endpoint=b", "the endpoint is ATELIER_S3_ENDPOINT"),
        ("S3_ENDPOINT", "minio:9000", "begins with http:// or https://"),
        ("S3_PUBLIC_ENDPOINT", "https://me:secret@host", "without a login"),
        ("STORAGE_URL", "file://[::1/x", "allowed is file:///path/of/a/folder"),
        ("STORAGE_URL", "file:///a?b", "write ? as %3F and # as %23"),
        ("STORAGE_URL", "file:///a%00b", "decoded, it must be text"),
        ("STORAGE_URL", "file:///a%ffb", "decoded, it must be text"),
    ],
)
def test_what_is_not_allowed_is_told_with_what_is(name: str, value: str, said: str):
    with pytest.raises(InvalidSettings, match=f"^ATELIER_{name}.*{re.escape(said)}"):
        load_settings({f"ATELIER_{name}": value})


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///a b/c%20d/", "/a b/c d"),
        ("file:///a%2541%3F%23", "/a%41?#"),
        ("file:/plain", "/plain"),
        ("file://localhost/x", "/x"),
        ("file:///ü/%C3%BC", "/ü/ü"),
        ("file:///~/x", "/~/x"),
    ],
)
def test_a_storage_url_names_the_folder_that_it_says(url: str, folder: str):
    settings = load_settings({"ATELIER_STORAGE_URL": url})
    assert store_of(settings).root == Path(folder)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://my-bucket", "my-bucket", ""),
        ("s3://my-bucket/", "my-bucket", ""),
        ("s3://my.bucket/atelier/one/", "my.bucket", "atelier/one"),
    ],
)
def test_a_storage_url_names_the_bucket_and_the_prefix_that_it_says(url: str, bucket: str, prefix: str):
    assert bucket_of(load_settings({"ATELIER_STORAGE_URL": url}).resolved_storage_url) == (bucket, prefix)


def test_odd_values_that_are_allowed_do_what_they_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(
        {
            "ATELIER_PORT": " 8080 ",
            "ATELIER_HEALTH_FILE": "~/healthy",
            "ATELIER_DATA_DIR": "~/",
            "ATELIER_ALLOWED_HOSTS": " a , b ",
            "ATELIER_VGG19_WEIGHTS": "./auto",
            "ATELIER_HOST": "localhost",
        }
    )
    assert (settings.port, settings.health_file) == (8080, str(tmp_path / "healthy"))
    assert (settings.data_dir, settings.vgg19_weights) == (tmp_path, "./auto")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "names a database in memory"),
        ("sqlite:///:memory:", "names a database in memory"),
        ("sqlite:///~/atelier.db", "write its whole path"),
        ("sqlite:////x/a.db?mode=ro", "has a parameter that is none: 'mode'"),
        ("/x/a.db", "that of a file is sqlite:////path/of/the/file.db"),
    ],
)
def test_a_database_that_would_be_another_one_is_refused(url: str, said: str):
    with pytest.raises(InvalidSettings, match=re.escape(said)):
        Database(load_settings({"ATELIER_DATABASE_URL": url}).resolved_database_url)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://h", "redis://h/0"),
        ("redis://h/?db=5&socket_timeout=9", "redis://h/5"),
        ("redis://u:p%2F@h:1//3/", "redis://u:p%2F@h:1/3"),
        ("rediss://h/2?ssl_cert_reqs=none&client_name=x", "rediss://h/2"),
        ("unix:///s?db=4&client_name=x", "redis+socket:///s?virtual_host=4"),
    ],
)
def test_workers_take_jobs_from_the_database_that_they_are_put_into(url: str, broker: str):
    """kombu reads such an address otherwise than redis-py, and fails at parameters."""
    settings = load_settings({"ATELIER_REDIS_URL": url})
    assert broker_url(settings) == broker
    ours = connect_redis(settings)
    asked = dict(parse_qsl(urlsplit(broker).query)).get("virtual_host") or Connection(broker).virtual_host
    assert int(asked.strip("/")) == ours.connection_pool.connection_kwargs.get("db", 0)
    ours.close()


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
