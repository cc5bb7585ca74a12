"""The app under test, and another backend put below it."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from flask import Flask

from web.services import hold_services, make_services, services_of


def change_backend(app: Flask, **changes: Any) -> None:
    """Let an app work with another database, storage or settings from now on."""
    backend = dataclasses.replace(services_of(app).backend, **changes)
    hold_services(app, make_services(backend, threading.Semaphore(2)))
