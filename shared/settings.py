"""All settings with their defaults; each process reads them once, from a given mapping, and freezes them.

The setting `redis_url` is the variable ``ATELIER_REDIS_URL``. Nothing else reads the environment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.errors import InvalidSettings
from shared.picture import PictureLimits
from shared.status import HIGHEST_PRIORITY
from shared.texts import is_printable

PREFIX = "ATELIER_"
#: A week; Redis knows no time without end, and neither does a wait.
_LONGEST_SECONDS = 604_800
#: A century: beyond it there is no calendar for the oldest that is to be kept.
_LONGEST_DAYS = 36_525
#: Beyond it programs in other languages lose digits of a number in JSON.
_MOST = 2**53 - 1
_HOME = Path("~/.cache/atelier")
#: What may hold a password: a refusal does not repeat it.
_SECRET = frozenset({"token", "redis_url", "database_url", "vgg19_weights_url", "fast_model"})
#: Web, which alone needs them, says what is wrong with them.
_READ_LATER = frozenset({"url", "allowed_hosts"})
_HOST_NAME = re.compile(r"(?!.{254})[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_BUCKET = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])(/.*)?")
_DIGEST = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")
_WEIGHTS = ("imagenet", "auto", "untrained")
#: What may follow the ? of an address of Redis; names of TLS begin with ssl_.
_REDIS_PARAMETERS = frozenset(
    {
        *("db", "protocol", "client_name", "max_connections", "health_check_interval", "retry_on_timeout"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive"),
    }
)
#: What others call what Redis' own addresses say otherwise.
_OTHER_WORDS = {
    "redis+socket": "unix:///PATH/OF/THE/SOCKET",
    "redis+unix": "unix:///PATH/OF/THE/SOCKET",
    "redis+tls": "rediss://HOST:PORT/DATABASE",
    "redis+ssl": "rediss://HOST:PORT/DATABASE",
    "valkey": "redis://HOST:PORT/DATABASE",
    "valkeys": "rediss://HOST:PORT/DATABASE",
}
_KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"


class Settings(BaseModel):
    """All settings of all processes; each process uses those it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", description="Redis: broker, leases, live progress, events"
    )
    redis_ca_file: str = Field(
        "", description="File with the certificate that signed Redis' own, for rediss:// with a private CA"
    )
    data_dir: Path = Field(Path("data"), description="Folder for all that has no place of its own below")
    database_url: str = Field("", description="SQLAlchemy URL; empty is atelier.db in the data folder")
    storage_url: str = Field(
        "",
        description="file:// URL of the artifact store, or s3://bucket/prefix; empty is storage in the data "
        "folder",
    )
    s3_endpoint: str = Field(
        "",
        description="Address of the S3 store, if it is not Amazon's; credentials are found as boto3 finds "
        "them",
    )
    s3_public_endpoint: str = Field(
        "", description="Address at which API clients find the S3 store, if it is another one"
    )
    s3_region: str = Field(
        "", description="Region of the S3 store; empty is what boto3 finds, else us-east-1"
    )
    s3_timeout_seconds: float = Field(
        10,
        gt=0,
        le=600,
        description="Seconds that the S3 store may take to answer; each request is tried four times",
    )
    cache_dir: Path = Field(
        _HOME,
        description="Folder for weights, shared by a machine's processes; without a home, cache in the data "
        "folder",
    )
    url: str = Field(
        "",
        description="Where people find the service, with the path if it lies below one; empty is "
        "http://127.0.0.1 with the port",
    )
    token: str = Field("", description="Token that the command line shows to the service")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies in front of web whose X-Forwarded-For, -Host and -Proto are believed",
    )
    allowed_hosts: str = Field(
        "",
        description="Names that web answers to, commas between, beside this machine's own and that of "
        "ATELIER_URL; *.lan is every name below one",
    )
    host: str = Field("127.0.0.1", description="Address the web process listens on")
    published_host: str = Field(
        "",
        description="Address that a container's port is published on, where it is not that of ATELIER_HOST",
    )
    open: bool = Field(
        False, description="Whether web listens for other machines though no token keeps anybody out"
    )
    port: int = Field(8000, ge=1, le=65535, description="Port the web process listens on")
    web_threads: int = Field(64, ge=2, le=1024, description="Requests that the web process works on at once")
    vgg19_weights: str = Field(
        "imagenet", description="imagenet, auto, untrained, or the path of a Keras .h5 file"
    )
    vgg19_weights_url: str = Field(
        _KERAS_FILES + "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        description="Where imagenet is downloaded from",
    )
    vgg19_weights_hash: str = Field(
        "253f8cb515780f3b799900260a226db6",
        description="Hex digest of that file: MD5 or SHA-256, told by length",
    )
    weights_auto_seconds: float = Field(
        10, gt=0, le=_LONGEST_SECONDS, description="How long auto may try to get imagenet, in seconds"
    )
    fast_model: str = Field(
        "packaged",
        description="Model of the method fast: packaged, or path or http(s) address of a SavedModel, as a "
        "folder or .tar.gz",
    )
    fast_model_hash: str = Field(
        "", description="SHA-256 of that .tar.gz, in hex; an address needs it, a path may do without"
    )
    min_free_bytes: int = Field(
        1_073_741_824,
        ge=0,
        le=_MOST,
        description="Bytes that stay free on the disks of storage and database: with less, no job is taken "
        "in or begun; 0 is no limit",
    )
    checkpoint_bytes: int = Field(
        268_435_456,
        ge=0,
        le=_MOST,
        description="Bytes that the states of a job's checkpoints may take; beyond that only their pictures "
        "stay, except of the last two",
    )
    max_upload_bytes: int = Field(25_000_000, ge=1, le=_MOST, description="Largest picture file, in bytes")
    max_pixels: int = Field(40_000_000, ge=1, le=_MOST, description="Largest picture, in pixels")
    min_side_px: int = Field(32, ge=16, le=100_000, description="Shortest side of a picture, in pixels")
    lease_seconds: float = Field(
        30, ge=0.1, le=_LONGEST_SECONDS, description="A lease not renewed for this long is lost"
    )
    renew_seconds: float = Field(
        5, gt=0, le=_LONGEST_SECONDS, description="Seconds between renewals of a lease"
    )
    stall_seconds: float = Field(
        120,
        gt=0,
        le=_LONGEST_SECONDS,
        description="A job with no new step for this long is no longer renewed",
    )
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts of a job before it fails as worker_lost")
    max_deliveries: int = Field(
        3,
        ge=1,
        le=1_000_000,
        description="Deliveries of one attempt to one worker before it is handed back as a worker_crash_loop",
    )
    queue_window: int = Field(
        4,
        ge=1,
        le=1000,
        description="Jobs in the broker for each worker, at least 16 in all; the others wait",
    )
    exact_seconds: float = Field(
        60,
        ge=0,
        le=_LONGEST_SECONDS,
        description="Seconds that what was begun waits for a worker of its kind before it goes on elsewhere",
    )
    dispatch_seconds: float = Field(
        0.2, gt=0, le=_LONGEST_SECONDS, description="Seconds between two looks for jobs to dispatch"
    )
    rescue_seconds: float = Field(
        3, gt=0, le=_LONGEST_SECONDS, description="Seconds between two looks for lost leases"
    )
    prune_seconds: float = Field(
        60, gt=0, le=_LONGEST_SECONDS, description="Seconds between two looks for what can be removed"
    )
    retention_days: float = Field(
        0, ge=0, le=_LONGEST_DAYS, description="Days that a finished job is kept; 0 keeps it for ever"
    )
    draft_hours: float = Field(
        24, gt=0, le=24 * _LONGEST_DAYS, description="Hours that a draft is kept, unless somebody keeps it"
    )
    max_drafts: int = Field(8, ge=1, le=1000, description="Drafts that a caller may have under way at once")
    max_jobs: int = Field(
        10_000,
        ge=0,
        le=_MOST,
        description="Jobs that a caller may have queued or running, drafts among them; 0 is no limit",
    )
    max_stored_bytes: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="Bytes of pictures and results that a caller may have stored; 0 is no limit",
    )
    max_size_px: int = Field(0, ge=0, le=_MOST, description="Largest size of a job, in pixels; 0 is no limit")
    max_priority: int = Field(
        HIGHEST_PRIORITY,
        ge=0,
        le=HIGHEST_PRIORITY,
        description="Highest priority that a job may ask for",
    )
    max_streams: int = Field(
        100, ge=0, le=_MOST, description="Event streams that a caller may have open; 0 is no limit"
    )
    max_requests_per_minute: int = Field(
        6000, ge=0, le=_MOST, description="Requests that a caller may send in a minute; 0 is no limit"
    )
    max_open_requests_per_minute: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="The same for all together, as long as no token is needed; 0 is no limit",
    )
    max_stars: int = Field(
        100, ge=1, le=10_000, description="Pictures that a caller may have starred: they are kept"
    )
    garbage_hours: float = Field(
        24,
        ge=1,
        le=24 * _LONGEST_DAYS,
        description="Files and assets that nothing refers to are removed when they are this old",
    )
    webhook_http: bool = Field(
        False, description="Whether webhooks may go to http:// addresses, which anybody on the way can read"
    )
    webhook_networks: str = Field(
        "",
        description="Networks that webhooks may go to though they are not public, commas between, such as "
        "10.1.0.0/16",
    )
    delivery_days: float = Field(
        7,
        gt=0,
        le=_LONGEST_DAYS,
        description="Days that the log of what webhooks were told is kept",
    )
    preview_seconds: float = Field(
        0.5, gt=0, le=_LONGEST_SECONDS, description="Least seconds between two previews of a job"
    )
    worker_seconds: float = Field(
        30, ge=1, le=_LONGEST_SECONDS, description="A worker not heard of for this long counts as gone"
    )
    drain_seconds: float = Field(
        60,
        gt=0,
        le=_LONGEST_SECONDS,
        description="Seconds that a worker has to hand its job back once it is asked to end",
    )
    health_file: str = Field(
        "", description="File that control and workers touch every few seconds while all is well"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="json for machines, console for people"
    )
    log_bytes: int = Field(
        20_000_000, ge=10_000, le=_MOST, description="Size at which `atelier up` begins a new file of a log"
    )
    log_files: int = Field(3, ge=1, le=1000, description="Older files that `atelier up` keeps of each log")

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what nobody means and nobody sees; in a number, space at an end is no matter."""
        name = str(info.field_name)
        is_text = cls.model_fields[name].annotation in (str, Path) and name not in _READ_LATER
        if is_text and isinstance(value, str | Path) and str(value):
            if not is_printable(str(value)):
                raise ValueError("it must be text in UTF-8, without control characters")
            if str(value) != str(value).strip():
                raise ValueError("there is a space at an end of it: take it away")
        return value

    @field_validator("data_dir", "cache_dir")
    @classmethod
    def _expand(cls, path: Path, info: ValidationInfo) -> Path:
        if str(path).startswith("file:"):
            raise ValueError("a folder is written as its path, such as /var/lib/atelier, without file:")
        try:
            return path.expanduser().absolute()
        except RuntimeError:
            # No HOME, and a user without an entry in passwd: so it is in many a container.
            if path == _HOME and "data_dir" in info.data:
                return Path(info.data["data_dir"]) / "cache"
            raise ValueError("there is no such home folder; write the whole path, from / on") from None
        except OSError as error:
            raise ValueError(f"the folder that it counts from is gone: {error.strerror}") from None

    @field_validator("health_file", "redis_ca_file")
    @classmethod
    def _expand_file(cls, name: str) -> str:
        try:
            return str(Path(name).expanduser()) if name.startswith("~") else name
        except RuntimeError:
            raise ValueError("there is no such home folder; write the whole path, from / on") from None

    @field_validator("storage_url")
    @classmethod
    def _names_a_folder(cls, url: str) -> str:
        if url.startswith("s3:"):
            bucket_of(url)
        elif url:
            folder_of(url)
        return url

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _is_endpoint(cls, url: str) -> str:
        if url and (not _is_web(url) or urlsplit(url).username is not None):
            raise ValueError("allowed is an address that begins with http:// or https://, without a login")
        return url

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if plain and not (_is_address(plain) or _HOST_NAME.fullmatch(plain)):
            raise ValueError(
                "allowed is an address such as 127.0.0.1, ::1 or 0.0.0.0, or the name of one; the port is "
                "ATELIER_PORT"
            )
        return plain

    @field_validator("vgg19_weights")
    @classmethod
    def _knows_weights(cls, weights: str) -> str:
        if weights.lower() in _WEIGHTS and weights not in _WEIGHTS:
            raise ValueError(f"write '{weights.lower()}', or ./{weights} for a file that is called so")
        if "://" in weights:
            raise ValueError("a file is written as its path; ATELIER_VGG19_WEIGHTS_URL is for an address")
        return weights

    @field_validator("fast_model")
    @classmethod
    def _knows_model(cls, model: str) -> str:
        if model.lower() == "packaged" != model:
            raise ValueError("write 'packaged', or ./ before the name of a file that is called so")
        if "://" in model and not _is_web(model):
            raise ValueError("an address begins with http:// or https://; a file is written as its path")
        return model

    @field_validator("fast_model_hash")
    @classmethod
    def _is_sha256(cls, digest: str) -> str:
        if digest and not (_DIGEST.fullmatch(digest) and len(digest) == 64):
            raise ValueError("allowed are 64 hex digits (SHA-256)")
        return digest.lower()

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, named: str) -> str:
        for each in named.replace(",", " ").split():
            try:
                ip_network(each)
            except ValueError:
                raise ValueError(
                    f"'{each}' is no network; allowed are such as 10.1.0.0/16 or fd00::/8"
                ) from None
        return named

    @field_validator("vgg19_weights_url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        if not _is_web(url):
            raise ValueError("allowed is an address that begins with http:// or https://")
        return url

    @field_validator("vgg19_weights_hash")
    @classmethod
    def _is_digest(cls, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ValueError("allowed are 32 hex digits (MD5) or 64 (SHA-256)")
        return digest

    @model_validator(mode="after")
    def _can_reach_redis(self) -> Settings:
        # Of the whole model, since what is said of a field shows its value, and this one may hold a password.
        fault = redis_url_fault(self.redis_url)
        if fault is not None:
            raise ValueError(f"ATELIER_REDIS_URL {fault}")
        return self

    @model_validator(mode="after")
    def _renews_in_time(self) -> Settings:
        if self.renew_seconds >= self.lease_seconds:
            raise ValueError(
                f"ATELIER_RENEW_SECONDS is {self.renew_seconds:g}: it must be less than "
                f"ATELIER_LEASE_SECONDS, {self.lease_seconds:g}, or every lease is lost before it is renewed"
            )
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database's URL with the default filled in."""
        return self.database_url or f"sqlite:///{quote(str(self.data_dir / 'atelier.db'))}"

    @property
    def resolved_storage_url(self) -> str:
        """The artifact store's URL with the default filled in."""
        return self.storage_url or (self.data_dir / "storage").as_uri()

    @property
    def local_url(self) -> str:
        """Where this machine's own processes find the web process."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - compared only
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def public_url(self) -> str:
        """Where people find the service, with the default filled in."""
        return self.url or self.local_url

    def picture_limits(self) -> PictureLimits:
        """Return the limits of a picture."""
        return PictureLimits(self.max_upload_bytes, self.max_pixels, self.min_side_px)

    def to_environ(self) -> dict[str, str]:
        """Return the settings as environment variables, for a child process; none of them needs the token."""
        known = self.model_dump(exclude={"token"})
        return {PREFIX + name.upper(): str(value) for name, value in known.items()}


def redis_url_fault(url: str) -> str | None:
    """Return why an address of Redis is none that all processes understand alike; None for one that is.

    What it returns goes on with the address' name, and does not repeat it: it may hold a password.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in ("redis", "rediss", "unix"):
        meant = _OTHER_WORDS.get(scheme.lower(), f"{scheme.lower()}://" if scheme != scheme.lower() else None)
        hint = f"; for '{scheme}' write {meant}" if meant and separator else ""
        begins = f"begins with '{scheme}://'" if separator and scheme.isprintable() else "has no kind"
        return f"{begins}; known are redis://, rediss:// and unix://{hint}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (
            "has a port that is no number from 1 to 65535, or a bracket too many; in a password, write / as "
            "%2F, # as %23, ? as %3F and [ as %5B"
        )
    if port == 0:
        return "has the port 0, which nobody listens on"
    if parts.fragment:
        return "has a #; in a password, write it as %23"
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        return "names a host that cannot be one: a part of it is empty, or longer than 63 characters"
    path, query = parts.path, parse_qs(parts.query, keep_blank_values=True)
    unknown = [name for name in query if name not in _REDIS_PARAMETERS and not name.startswith("ssl_")]
    if unknown:
        hint = "; write both before an @" if unknown[0] in ("username", "password") else ""
        known = f"known are {', '.join(sorted(_REDIS_PARAMETERS))} and those of TLS, ssl_…"
        return f"has a parameter that is none: '{unknown[0][:40]}'; {known}{hint}"
    if scheme != "rediss" and any(name.startswith("ssl_") for name in query):
        return "says something of TLS (ssl_…), and is without it; with TLS it begins with rediss://"
    if query.get("protocol", ["2"])[0] not in ("2", "3"):
        return "asks for another protocol than 2 and 3"
    if scheme == "unix":
        if not path.strip("/") or parts.hostname:
            return "names no socket: write unix:///PATH/OF/THE/SOCKET, with three slashes"
        database = query.get("db", ["0"])[0]
    else:
        database = path.strip("/") or query.get("db", ["0"])[0]
        if path.strip("/") and query.get("db", [database])[0] != database:
            return f"asks for two databases, '{database[:40]}' and '{query['db'][0][:40]}'"
    if not (database.isascii() and database.isdecimal()):
        return f"asks for the database '{database[:40]}'; a database of Redis is a number, mostly 0"
    return None


def folder_of(url: str) -> Path:
    """Return the folder at a ``file:`` URL.

    Raises:
        ValueError: saying what is wrong with it, in words that go on after the URL.
    """
    form = "allowed is file:///path/of/a/folder"
    if url.startswith("/"):
        raise ValueError(f"{form}; for this folder write file://{quote(url)}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(form) from None
    if parts.scheme != "file":
        raise ValueError(f"{form}, or s3://bucket/prefix")
    if parts.netloc not in ("", "localhost"):
        raise ValueError(
            f"{form}, with three slashes: with two, '{parts.netloc}' is a machine. A folder of another "
            "machine is mounted on this one first"
        )
    if not parts.path.startswith("/"):
        raise ValueError(f"{form}, with the whole path from / on")
    if "?" in url or "#" in url:
        raise ValueError(f"{form}; in a name write ? as %3F and # as %23")
    try:
        path = unquote_to_bytes(parts.path).decode()
    except UnicodeDecodeError:
        path = ""
    if not path or not is_printable(path):
        raise ValueError(f"{form}; decoded, it must be text in UTF-8, without control characters")
    return Path(path)


def bucket_of(url: str) -> tuple[str, str]:
    """Return the bucket at an ``s3:`` URL, and the prefix of all keys in it, which may be empty.

    Raises:
        ValueError: saying what is wrong with it, in words that go on after the URL.
    """
    form = "allowed is s3://bucket/prefix"
    match = _BUCKET.fullmatch(url)
    if match is None:
        raise ValueError(f"{form}, where a bucket's name has 3 to 63 letters, digits, dots and dashes")
    bucket, prefix = match[1], (match[2] or "").strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ValueError(f"{form}, where no part of the prefix is empty or dots")
    if "?" in prefix or "#" in prefix or "%" in prefix:
        raise ValueError(f"{form}, without ? # %: the endpoint is ATELIER_S3_ENDPOINT")
    return bucket, prefix


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in a mapping such as ``os.environ``; empty variables count as unset.

    Raises:
        InvalidSettings: naming each variable that is unknown or whose value is not allowed.
    """
    given = {
        key.removeprefix(PREFIX).lower(): value
        for key, value in environ.items()
        if key.startswith(PREFIX) and value != ""
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise InvalidSettings("; ".join(_explain(dict(item)) for item in error.errors())) from None


def touch_health_file(settings: Settings) -> None:
    """Note that all is well, for whoever looks at the time of the file; a disk that refuses is no fault.

    A process that ended for want of room for it would be of no use to the jobs that wait for that room.
    """
    if settings.health_file:
        with suppress(OSError):
            Path(settings.health_file).touch()


def _explain(item: dict[str, object]) -> str:
    location = item["loc"]
    name = str(location[0]) if isinstance(location, tuple) and location else ""
    if not name:
        return str(item["msg"]).removeprefix("Value error, ")
    variable = PREFIX + name.upper()
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
        return f"{variable} is not a setting{hint}"
    said = _allowed(name) if item["type"] != "value_error" else None
    given = "" if name in _SECRET else f" is {_given(item['input'])}"
    return f"{variable}{given}: {said or str(item['msg']).removeprefix('Value error, ')}"


def _allowed(name: str) -> str | None:
    """Return what a setting may be, if it is a number or one of some words."""
    field = Settings.model_fields[name]
    if field.annotation not in (int, float):
        words = get_args(field.annotation)
        return f"allowed are {', '.join(words)}" if words else None
    least = [_bound(rule, ("ge", "from"), ("gt", "above")) for rule in field.metadata]
    most = [_bound(rule, ("le", "up to"), ("lt", "below")) for rule in field.metadata]
    kind = "a whole number" if field.annotation is int else "a number"
    return " ".join(["allowed is", kind, *filter(None, least), *filter(None, most)])


def _bound(rule: Any, *kinds: tuple[str, str]) -> str:  # noqa: ANN401 - annotated-types'
    """Return a bound in words; empty for a rule of another kind."""
    for attribute, words in kinds:
        value = getattr(rule, attribute, None)
        if value is not None:
            return f"{words} {int(value) if value == int(value) else value}"
    return ""


def _given(value: object) -> str:
    """Return a value as it was written."""
    return repr(str(value) if isinstance(value, Path) else value)
