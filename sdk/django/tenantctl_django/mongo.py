"""The tenant's database in MongoDB."""

from __future__ import annotations

from typing import Protocol, TypeVar

from .tenant import TenantError, current_tenant

T_co = TypeVar("T_co", covariant=True)


class Client(Protocol[T_co]):
    """A client of MongoDB: pymongo's, motor's, or another that gives databases by name."""

    def __getitem__(self, name: str) -> T_co: ...


def tenant_database(client: Client[T_co]) -> T_co:
    """The database of the present tenant."""
    tenant = current_tenant("a database of MongoDB")
    if not tenant.database:
        raise TenantError(f"tenant {tenant.name} has no database in MongoDB")
    return client[tenant.database]
