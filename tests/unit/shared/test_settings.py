"""Settings are read from a mapping, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidSettings
from shared.settings import Settings, load_settings, touch_health_file


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
        ({"ATELIER_RENEW_SECONDS": "30"}, "ATELIER_RENEW_SECONDS is 30: it must be less than ATELIER_LEASE"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], words: str):
    with pytest.raises(InvalidSettings, match=words.replace("?", r"\?")):
        load_settings(environ)


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
