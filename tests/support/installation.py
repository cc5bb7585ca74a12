"""The installation that a test's settings are of; it is made where none of the processes has made one yet."""

from __future__ import annotations

from shared.installation import Installation, read_identity, write_identity
from shared.protocol import new_id
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import store_of


def names_of(settings: Settings) -> Names:
    """Return the installation's names in Redis; its storage is there from then on."""
    store = store_of(settings)
    found = read_identity(store)
    if found is None:
        found = Installation(id=new_id())
        store.make_root()
        write_identity(store, found)
    return found.names
