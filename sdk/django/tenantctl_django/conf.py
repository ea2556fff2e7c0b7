"""The setting TENANTCTL of a project, a dict:

ASSERTION_KEYS      the secrets that a resolver signs with, the newest first; or
ASSERTION_KEY_FILE  a file with one secret a line, as resolve.assertion_key_file has it
EXEMPT_PATHS        paths that are served without a tenant, such as ["/healthz"]
EXTENSIONS_SCHEMA   postgres.extensions_schema of tenantctl.yaml: it stands behind the tenant's on the search_path
CATALOG_ALIAS       the database whose view tenantctl.routes for_each_tenant reads; "default"
TEST_TENANTS        the tenants that each test database has; ("acme", "globex")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_DEFAULTS = {
    "ASSERTION_KEYS": (),
    "ASSERTION_KEY_FILE": "",
    "EXEMPT_PATHS": (),
    "EXTENSIONS_SCHEMA": "",
    "CATALOG_ALIAS": "default",
    "TEST_TENANTS": ("acme", "globex"),
}
_LEAST = 32


def option(name: str) -> Any:
    """One value of TENANTCTL. A key that is none of ours is an error."""
    given = getattr(settings, "TENANTCTL", {})
    unknown = sorted(set(given) - set(_DEFAULTS))
    if unknown:
        raise ImproperlyConfigured(f"TENANTCTL has {unknown[0]}, which is none of {', '.join(_DEFAULTS)}")
    return given.get(name, _DEFAULTS[name])


def assertion_keys() -> List[bytes]:
    """The secrets of assertions. The first signs, all verify."""
    given, path = option("ASSERTION_KEYS"), option("ASSERTION_KEY_FILE")
    if bool(given) == bool(path):
        raise ImproperlyConfigured("TENANTCTL needs ASSERTION_KEYS or ASSERTION_KEY_FILE, one of them")
    if path:
        try:
            given = [line.strip() for line in Path(path).read_bytes().splitlines() if line.strip()]
        except OSError as err:
            raise ImproperlyConfigured(f"read TENANTCTL's ASSERTION_KEY_FILE: {err}") from err
    keys = [key.encode() if isinstance(key, str) else bytes(key) for key in given]
    if not keys or min(map(len, keys)) < _LEAST:
        raise ImproperlyConfigured(f"a key of assertions has at least {_LEAST} bytes")
    return keys
