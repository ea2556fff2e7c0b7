"""The tenant that the present work is for."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Iterator, Optional

from django.core.exceptions import ImproperlyConfigured


class TenantError(Exception):
    """Work that no tenant, or not this one, may do."""


# It is ImproperlyConfigured too: runserver passes over a database whose migrations it cannot ask for so.
class NoTenant(TenantError, ImproperlyConfigured):  # type: ignore[misc]
    """Work that belongs to a tenant, where there is none."""


class OtherTenant(TenantError):
    """A transaction of one tenant, used for another."""


@dataclass(frozen=True)
class Tenant:
    """A tenant as the catalog of tenantctl knows it."""

    id: str
    name: str
    schema: str  # in PostgreSQL
    role: str = ""  # in PostgreSQL; empty where the tenant has none of its own
    database: str = ""  # in MongoDB
    state: str = "active"
    revision: int = 0
    generation: str = ""  # another one once its data was replaced by a restore

    def __post_init__(self) -> None:
        if not self.schema or "\0" in self.schema + self.role:
            raise ValueError(f"tenant {self.name} has no schema that PostgreSQL can have")

    @property
    def redis_prefix(self) -> str:
        """Begins the tenant's keys in Redis. Its braces keep them in one slot of a cluster. After a restore it is
        another one: no cache answers with what was replaced."""
        return "{" + self.schema + "}:" + self.generation + ":"


_current: ContextVar[Optional[Tenant]] = ContextVar("tenantctl_tenant", default=None)


def current_tenant(what: str = "this work") -> Tenant:
    """The tenant of the context, or NoTenant."""
    tenant = _current.get()
    if tenant is None:
        raise NoTenant(
            f"{what} needs a tenant and there is none: serve the request by tenantctl_django.middleware, "
            "or use tenant_context(tenant); threads that you start need contextvars.copy_context().run"
        )
    return tenant


@contextmanager
def tenant_context(tenant: Optional[Tenant]) -> Iterator[Optional[Tenant]]:
    """Work for a tenant, or for none. It holds for this task or thread, and for what asgiref starts from it."""
    token = _current.set(tenant)
    try:
        yield tenant
    finally:
        _current.reset(token)
