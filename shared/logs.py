"""Logs: one event a line, with its job and attempt, as JSON for machines or in colour for people.

Whoever reads a log must not be able to do what its service's callers may. So all that looks like a secret is
replaced by `…` before it is written, wherever it comes from: a value, a text of a library, an exception. This
is the second line: nobody is to log a secret in the first place.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType

import structlog

from shared.settings import Settings

_HIDDEN = "…"
#: Names of fields and headers whose values are secrets; also with HTTP_ before them, as WSGI has them.
_SECRET_NAMES = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-csrf-token", "csrf-token"),
        *("token", "secret", "password", "signature", "webhook-signature"),
    }
)
#: A field with the address of a webhook: of it whose machine that is may be known, and no more.
_WEBHOOK_NAME = "webhook_url"
_BEHIND_HOST = re.compile(r"(?<=://)([^/?#\s]*).*", re.DOTALL)
_NAME = r"authorization|cookie|x[-_]csrf[-_]token|csrf_token|webhook[-_]signature"
#: What none of the patterns below finds anything in; most texts are such.
_MAYBE = re.compile(rf"atelier_|whsec_|://|/share/|bearer|{_NAME}", re.IGNORECASE)
_PATTERNS = (
    # A header or a field as a mapping shows it, with its value in quotes, or as a line has it: up to its end.
    (
        re.compile(rf"((?:{_NAME})(?:\\?[\"'])\s*[:=,]\s*b?(\\?[\"'])).*?(\2)", re.IGNORECASE),
        rf"\1{_HIDDEN}\3",
    ),
    (re.compile(rf"((?:{_NAME})\s*[:=]\s*)[^\s\"'…][^\r\n]*", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"\b(bearer)[ \t]+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    # What is shown of a token, so that its owner knows it, is shorter.
    (re.compile(r"atelier_[A-Za-z0-9_-]{24,}"), f"atelier_{_HIDDEN}"),
    (re.compile(r"(atelier_session=)[^\s;,\"']+"), rf"\1{_HIDDEN}"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), f"whsec_{_HIDDEN}"),
    (re.compile(r"(/share/)[^\s/?#\"'<>\\]+"), rf"\1{_HIDDEN}"),
    # An address: who logs in with it, and what it asks.
    (re.compile(r"(://)[^\s/?#\"'<>]+(@)"), rf"\1{_HIDDEN}\2"),
    (re.compile(r"(://[^\s?\"'<>]*\?)[^\s\"'<>#]+"), rf"\1{_HIDDEN}"),
)


def hide_secrets(text: str) -> str:
    """Return a text in which all that looks like a secret is replaced by `…`.

    That is a token, a login of HTTP, a cookie, what shows where a form comes from, a secret and a
    signature of a webhook, what opens a share link, and of every address the login and the query.
    """
    if _MAYBE.search(text):
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
    return text


def _hide_in(value: object, name: str = "") -> object:
    """Return a value of an event without secrets; what is no text, number or collection becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if name.lower().removeprefix("http_").replace("_", "-") in _SECRET_NAMES:
        return _HIDDEN
    if name == _WEBHOOK_NAME:
        return hide_secrets(_BEHIND_HOST.sub(rf"\1/{_HIDDEN}", str(value)))
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {hide_secrets(str(key)): _hide_in(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hide_in(item) for item in value]
    return hide_secrets(repr(value))


def _hide_secrets_of_event(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {name: _hide_in(value, name) for name, value in event.items()}


def configure_logs(settings: Settings) -> None:
    """Send the logs of this process and of its libraries to standard error."""
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
        exception_formatter=structlog.dev.plain_traceback
    )
    if settings.log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    last_steps: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        _hide_secrets_of_event,
        renderer,
    ]
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared_steps,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last_steps],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    _hide_in_last_words()


def _hide_in_last_words() -> None:
    """Let an exception that nobody caught be shown without secrets, too; who has taken that over keeps it."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _show_uncaught_of_thread


def _show_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error or kind(), trace)  # Ctrl-C; it says nothing of anybody
    elif sys.stderr is not None:
        sys.stderr.write(hide_secrets("".join(traceback.format_exception(kind, error, trace))))


def _show_uncaught_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and sys.stderr is not None:
        sys.stderr.write(f"Exception in thread {args.thread.name if args.thread else '?'}:\n")
        _show_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; give it ``__name__``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
