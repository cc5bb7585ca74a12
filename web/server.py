"""The web process: gunicorn with an event loop and threads, told in code."""

from __future__ import annotations

import errno
import resource
import socket
import sys
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from shared.errors import AtelierError, InvalidSettings
from shared.logs import configure_logs, get_logger
from shared.processes import keep_private, make_private
from shared.redis.connection import require_fit_redis
from shared.settings import Settings
from web.access.tokens import is_closed
from web.app import create_app
from web.backend import Backend
from web.front.application import Front
from web.front.worker import Worker
from web.security import decide_exposure
from web.services import services_of

_GRACEFUL_SECONDS = 10
_KEEPALIVE_SECONDS = 5
_BACKLOG = 256
#: The most that gunicorn takes, and what RFC 9112 asks for at least.
_LINE_BYTES = 8190
#: Connections at once; each may hold some 300 kB. A body that is being sent has a file besides.
_CONNECTIONS = 2000
_DESCRIPTORS = 2 * _CONNECTIONS + 500
_log = get_logger(__name__)


def run_web(settings: Settings) -> None:
    """Serve until a signal ends the process: SIGTERM lets requests end for up to 10 s, SIGINT does not.

    Raises:
        InvalidSettings: when the address cannot be listened on, or a name in a setting is none.
        ServiceError: when database or storage cannot be used, or Redis is too old.
    """
    keep_private()
    make_private(settings.data_dir)
    configure_logs(settings)
    require_fit_redis(settings)
    # What is wrong with database or storage is said here: gunicorn's worker would bury it in a traceback.
    backend = Backend.open(settings)
    try:
        warning = decide_exposure(settings, has_token=is_closed(backend.database))
    finally:
        backend.close()
    listener = _listen(settings)
    if warning is not None:
        _log.warning("listens_beyond_this_machine", detail=warning)
    _allow_descriptors()
    _Server(settings, listener).run()


class _Server(BaseApplication):  # type: ignore[misc]
    """One worker process: streams and waits are counted there, and SQLite has one writing process less."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        options = {
            # gunicorn takes the descriptor over, and closes it.
            "bind": f"fd://{self._listener.detach()}",
            "worker_class": Worker,
            "workers": 1,
            "worker_connections": _CONNECTIONS,
            "limit_request_line": _LINE_BYTES,
            "asgi_lifespan": "off",
            "asgi_loop": "asyncio",
            "graceful_timeout": _GRACEFUL_SECONDS,
            "keepalive": _KEEPALIVE_SECONDS,
            "loglevel": self._settings.log_level,
            "logger_class": _RootLogger,
            "control_socket_disable": True,
            # By default it believes proxies on this machine; whom we believe is a setting of ours.
            "forwarded_allow_ips": "",
            "worker_exit": _close,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Front:
        """Make the app; gunicorn calls this in the worker, after the fork."""
        try:
            return Front(create_app(self._settings), threads=self._settings.web_threads)
        except AtelierError as error:
            # It was well a moment ago; this code ends gunicorn, and whoever supervises it tries again.
            _log.error("cannot_serve", code=error.code, detail=error.detail)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class _RootLogger(Logger):  # type: ignore[misc]
    """gunicorn's log without handlers of its own: its lines go where all others go."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn's Config
        """Send everything to the root logger."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers = []
            log.propagate = True


def _close(_server: object, worker: Worker) -> None:
    if worker.front is not None:
        worker.front.close()
        services_of(worker.front.app).close()


def _allow_descriptors() -> None:
    """Allow as many open descriptors as the machine lets this process have, up to what is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(settings: Settings) -> socket.socket:
    try:
        places = socket.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise InvalidSettings(f"ATELIER_HOST is '{settings.host}': {error.strerror or error}") from error
    # Of a name that has both, such as localhost, the address of IPv4.
    family, kind, protocol, _, place = min(places, key=lambda found: found[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        address = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise InvalidSettings(
                f"ATELIER_PORT: {address} is in use by another process; stop it or choose another port"
            ) from error
        raise InvalidSettings(
            f"ATELIER_HOST and ATELIER_PORT: cannot listen on {address}: {error.strerror or error}"
        ) from error
    return listener
