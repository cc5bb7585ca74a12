"""The app under test: another backend put below it, and the files that it stored."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

from flask import Flask

from shared.installation import IDENTITY_KEY
from shared.settings import Settings
from web.services import ConcurrencyLimit, hold_services, make_services, services_of


def change_backend(app: Flask, **changes: Any) -> None:
    """Let an app work with another database, storage or settings from now on."""
    backend = dataclasses.replace(services_of(app).backend, **changes)
    hold_services(app, make_services(backend, threading.Semaphore(2)))


class AnnouncedPlaces(ConcurrencyLimit):
    """Places to wait that say when one is asked for: whoever submits and waits has handed in by then."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.is_asked = threading.Event()

    def take(self) -> bool:
        """Take a place if one is free."""
        self.is_asked.set()
        return super().take()


def stored_files(settings: Settings) -> list[Path]:
    """Return the files of the storage."""
    root = settings.data_dir / "storage"
    found = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    return [path for path in found if path != root / IDENTITY_KEY]
