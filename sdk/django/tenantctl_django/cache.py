"""Keys of a tenant in a shared cache."""

from __future__ import annotations

from typing import Any

from .tenant import current_tenant


def make_key(key: Any, key_prefix: str, version: Any) -> str:
    """The KEY_FUNCTION of a cache whose entries are the tenants': {SCHEMA}:GENERATION:PREFIX:VERSION:KEY.

    Two tenants never share an entry, and none has one of its data before a restore. cache.clear() empties the cache of
    all of them.
    """
    return f"{current_tenant('a key of the cache').redis_prefix}{key_prefix}:{version}:{key}"


def tenant_key(key: str) -> str:
    """A key of the tenant for a client of Redis: {SCHEMA}:GENERATION:KEY."""
    return current_tenant("a key of Redis").redis_prefix + key
