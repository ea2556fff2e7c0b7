"""All tenants, one after the other.

They are read from the view tenantctl.routes and not from `tenantctl list`: an application needs neither the program
nor the operator's rights, one query tells all, and it tells which tenants may be served now. The login needs
GRANT USAGE ON SCHEMA tenantctl and GRANT SELECT ON tenantctl.routes.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, TypeVar

from django.db import connections

from .conf import option
from .tenant import Tenant, TenantError, tenant_context

T = TypeVar("T")

_OPEN = """SELECT tenant_id::text, name, schema_name, role_name, coalesce(database_name, ''), state, revision,
    generation
FROM tenantctl.routes WHERE gate = 'open' AND (tenant_id = %(id)s::uuid OR %(id)s::uuid IS NULL) ORDER BY name"""


class TenantsFailed(TenantError):
    """Work of which some tenants' part failed; the others' is done."""

    def __init__(self, errors: Mapping[str, Exception], results: Mapping[str, Any]) -> None:
        self.errors, self.results = dict(errors), dict(results)
        listed = "; ".join(f"{name}: {err}" for name, err in list(self.errors.items())[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(f"{len(errors)} of {len(errors) + len(results)} tenants failed: {listed}{more}")


def open_tenants(names: Optional[Iterable[str]] = None) -> List[Tenant]:
    """The tenants that may be served now, or those with these names, by name. One that is suspended, moving or
    not there is left out of all, and an error where it is named."""
    tenants = {tenant.name: tenant for tenant in _read(None)}
    if names is None:
        return list(tenants.values())
    wanted = sorted(set(names))
    missing = [name for name in wanted if name not in tenants]
    if missing:
        raise TenantError(f"{', '.join(missing)}: no such tenant, or it is not served now; see: tenantctl list")
    return [tenants[name] for name in wanted]


def open_tenant(tenant_id: str) -> Tenant:
    """The tenant with this id as the catalog has it now, or TenantError where it is not served."""
    tenants = _read(str(uuid.UUID(tenant_id)))
    if not tenants:
        raise TenantError(f"tenant {tenant_id} is not there, or it is not served now; see: tenantctl list")
    return tenants[0]


def _read(tenant_id: Optional[str]) -> List[Tenant]:
    connection = connections[option("CATALOG_ALIAS")]
    with ExitStack() as stack:
        own = getattr(connection, "login_cursor", None)
        cursor = stack.enter_context(own() if own is not None else connection.cursor())
        cursor.execute(_OPEN, {"id": tenant_id})
        rows = cursor.fetchall()
    return [Tenant(*row) for row in rows]


def for_each_tenant(work: Callable[[Tenant], T], names: Optional[Iterable[str]] = None) -> Dict[str, T]:
    """Does work for each tenant, within it, and gives the results by name. An error stops nobody else:
    TenantsFailed is raised at the end, with errors and results by name."""
    results: Dict[str, T] = {}
    errors: Dict[str, Exception] = {}
    for tenant in open_tenants(names):
        with tenant_context(tenant):
            try:
                results[tenant.name] = work(tenant)
            except Exception as err:  # of this tenant
                errors[tenant.name] = err
    if errors:
        raise TenantsFailed(errors, results)
    return results
