"""Entries of the broker that cannot be read: a bounded list, so that none stops a node or is lost unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shared.clock import to_rfc3339
from shared.redis.connection import is_wrong_type, redis_errors
from shared.redis.names import Names

KEEP_ENTRIES = 1000
#: A message of ours has a few thousand characters.
KEEP_CHARACTERS = 65_536
_ID_CHARACTERS = 12
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)

#: What comes again and again, as a message that is sent anew, is one item that tells how often.
_PUT = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'list' and kind ~= 'none' then redis.call('RENAME', KEYS[1], KEYS[2]) end
local times = 1
for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if string.find(item, ARGV[2], 1, true) then
    times = 1 + (tonumber(string.match(item, '"times": (%d%d?%d?%d?%d?%d?%d?%d?%d?)}$')) or 1)
    redis.call('LREM', KEYS[1], 1, item)
    break
  end
end
local told = times > 1 and ', "times": ' .. string.format('%d', times) or ''
redis.call('LPUSH', KEYS[1], string.sub(ARGV[1], 1, -2) .. told .. '}')
redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
return times
"""

#: What is asked of the list is asked of one of its items, which may have moved: so by its text.
_REQUEUE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if ARGV[3] == 'stream' then
  redis.call('XADD', KEYS[2], '*', 'event', ARGV[2])
else
  redis.call('LPUSH', KEYS[2], ARGV[2])
end
return 1
"""


@dataclass(frozen=True)
class SetAsideEntry:
    """One entry: when and why it was set aside, the key it comes from, and its text, cut if very long.

    `times` is how often it came; then the moment is that of the last time.
    An item of the list that is none of ours has no source, and the time 0.
    """

    id: str
    at: datetime
    reason: str
    source: str
    entry: str
    cut: bool = False
    times: int = 1


class SetAside:
    """What was set aside, newest first. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._key = names.key("set-aside")
        self._sources = names.queue("")
        self._stream, self._held = names.key("events"), names.unacked
        self._put = client.register_script(_PUT)
        self._requeue = client.register_script(_REQUEUE)

    def put(self, entry: str, *, reason: str, source: str, now: datetime) -> None:
        """Keep an entry that was taken from the list `source`; beyond 1000 the oldest are forgotten.

        One that is there already is counted.
        """
        readable = entry[:KEEP_CHARACTERS].encode(errors="backslashreplace").decode()
        item = _Item.model_validate(
            {
                "at": now,
                "reason": reason,
                "from": source,
                "entry": readable,
                "cut": len(entry) > KEEP_CHARACTERS,
            }
        )
        with redis_errors():
            keys = [self._key, f"{self._key}:damaged"]
            self._put(keys=keys, args=[item.to_json(), item.mark, KEEP_ENTRIES])

    def entries(self, limit: int = 100) -> list[SetAsideEntry]:
        """Return the newest entries."""
        if limit < 1:
            return []
        return [_read(text) for text in self._texts(limit)]

    def requeue(self, entry_id: str) -> bool:
        """Put an entry back to the list or stream it comes from; False when it is not there, or was cut."""
        for text in self._with_id(entry_id):
            found = _read(text)
            if found.cut or found.source == self._held or not found.source.startswith(self._sources):
                return False
            keys, kind = [self._key, found.source], "stream" if found.source == self._stream else "list"
            with redis_errors():
                return bool(self._requeue(keys=keys, args=[text, found.entry, kind]))
        return False

    def drop(self, entry_id: str) -> bool:
        """Forget an entry; False when it is not there."""
        for text in self._with_id(entry_id):
            with redis_errors():
                return bool(self._client.lrem(self._key, 1, text))
        return False

    def count(self) -> int:
        """Return how many entries there are, without reading any; 0 where something else is in the place."""
        with redis_errors():
            try:
                return int(self._client.llen(self._key))
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
                return 0

    def _with_id(self, entry_id: str) -> Iterator[str]:
        return (text for text in self._texts(KEEP_ENTRIES) if _read(text).id == entry_id)

    def _texts(self, limit: int) -> list[str]:
        """Return the texts of the newest items; none where somebody has put something else in the place."""
        with redis_errors():
            try:
                texts: Any = self._client.lrange(self._key, 0, limit - 1)
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
                return []
        return list(texts)


class _Item(BaseModel):
    """An entry as it stands in the list."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    reason: str
    source: str = Field(alias="from")
    entry: str
    cut: bool = False
    times: int = Field(1, ge=1)

    @property
    def mark(self) -> str:
        """The part of `to_json` that is the same whenever and why ever the entry comes again."""
        return json.dumps({"from": self.source, "entry": self.entry})[1:-1]

    def to_json(self) -> str:
        """Return the text of the list's item: ASCII, whatever the entry is. It is counted elsewhere."""
        values = {"at": to_rfc3339(self.at), "reason": self.reason, "from": self.source, "entry": self.entry}
        return json.dumps({**values, "cut": True} if self.cut else values)


def _read(text: str) -> SetAsideEntry:
    try:
        item = _Item.model_validate_json(text)
    except ValidationError:
        unknown = "somebody else wrote this item of the list"
        return SetAsideEntry(_id_of(text), _BEFORE_ALL, unknown, "", text)
    entry_id = _id_of(item.mark)
    return SetAsideEntry(entry_id, item.at, item.reason, item.source, item.entry, item.cut, item.times)


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARACTERS]
