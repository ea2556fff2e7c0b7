"""Django's backend for PostgreSQL, where every statement is a tenant's.

Role and search_path are set for a transaction and never for a session: they end with it, so that a connection, or a
pooler in transaction mode, has nothing of a tenant left. They travel in the message of the transaction's first
statement, or of a statement that is a transaction of its own, and cost no round trip.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Optional

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base as stock

from ..conf import option
from ..tenant import OtherTenant, Tenant, TenantError
from .creation import DatabaseCreation
from .cursor import TenantCursor

_IDLE = 0  # of libpq's PGTransactionStatusType


class DatabaseWrapper(stock.DatabaseWrapper):  # type: ignore[misc]
    """Refuses statements outside a tenant (NoTenant), and a transaction of one tenant to another (OtherTenant)."""

    creation_class = DatabaseCreation
    _tenant: Optional[Tenant] = None  # of the present transaction
    _bound = False  # the transaction has sent its prefix

    def get_connection_params(self) -> Any:
        if self.settings_dict.get("OPTIONS", {}).get("prepare_threshold") is not None:
            raise ImproperlyConfigured(
                "prepare_threshold: a statement prepared for one tenant fails for another; leave it out"
            )
        return super().get_connection_params()

    def create_cursor(self, name: Optional[str] = None) -> Any:
        raw = super().create_cursor(name)
        if self.alias == NO_DB_ALIAS:  # makes and drops the databases of tests
            return raw
        return TenantCursor(self, raw, name is not None)

    @contextmanager
    def login_cursor(self) -> Iterator[Any]:
        """A cursor of the login's own rights, which reads the catalog. It works outside transactions alone."""
        self.ensure_connection()
        if self.in_transaction():
            raise TenantError(f"the catalog cannot be read in a transaction of {self.alias!r}: it may be a tenant's")
        with self.wrap_database_errors, self.connection.cursor() as cursor:
            yield cursor

    def in_transaction(self) -> bool:
        """Tells whether the next statement is one of several in a transaction."""
        if self.connection.info.transaction_status == _IDLE:
            self.forget_tenant()
            return not self.autocommit
        return True

    def prefix(self, tenant: Tenant) -> str:
        """What the next statement has to begin with; empty where its transaction is the tenant's already."""
        held = self._tenant if self.in_transaction() else None
        if held is not None and (held.schema, held.role) != (tenant.schema, tenant.role):
            raise OtherTenant(
                f"this transaction of {self.alias!r} belongs to tenant {held.name}: end it before it is used "
                f"for tenant {tenant.name}"
            )
        if self._bound:
            return ""
        schemas = [tenant.schema, option("EXTENSIONS_SCHEMA")]
        path = ", ".join('"' + name.replace('"', '""') + '"' for name in schemas if name)
        path += ", pg_temp"  # last: else a temporary table would stand before the tenant's
        return (
            f"SELECT set_config('role', {_literal(tenant.role or 'none')}, true), "
            f"set_config('search_path', {_literal(path)}, true); "
        )

    def bind_tenant(self, tenant: Tenant) -> None:
        """Notes that the present transaction has sent its prefix."""
        self._tenant, self._bound = tenant, True

    def unbind_tenant(self) -> None:
        """Lets the prefix be sent again: something may have changed role or search_path."""
        self._bound = False

    def forget_tenant(self) -> None:
        """Notes that the transaction has ended."""
        self._tenant, self._bound = None, False

    def init_connection_state(self) -> None:
        self.forget_tenant()
        super().init_connection_state()

    def _commit(self) -> Any:
        try:
            return super()._commit()
        finally:
            self.forget_tenant()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()
        finally:
            self.forget_tenant()

    def _set_autocommit(self, autocommit: bool) -> None:
        self.forget_tenant()
        super()._set_autocommit(autocommit)


def _literal(text: str) -> str:
    """A text for SQL, whatever standard_conforming_strings is."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
