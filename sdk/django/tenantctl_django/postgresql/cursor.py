"""Cursors whose statements are a tenant's."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator

from ..tenant import current_tenant

try:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3
except ImportError:  # before Django 4.2, which brought psycopg 3
    is_psycopg3 = False

if is_psycopg3:
    from psycopg import ClientCursor

if TYPE_CHECKING:
    from .base import DatabaseWrapper

# Savepoints belong to atomic(), which may begin and end outside a tenant.
_SAVEPOINT = re.compile(r'(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) "[^"]*"$')
# What may change the role, the search_path or the transaction: a word too many costs one set_config.
_UNSETTLING = re.compile(
    r"\b(savepoint|rollback|commit|begin|start|end|abort|prepare|role|authorization|search_path|schema|reset|discard"
    r"|set_config)\b",
    re.IGNORECASE,
)


class TenantCursor:
    """A driver's cursor, with the tenant's role and search_path set before each statement."""

    __slots__ = ("_db", "_raw", "_named")

    def __init__(self, db: DatabaseWrapper, raw: Any, named: bool) -> None:
        object.__setattr__(self, "_db", db)
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_named", named)

    def execute(self, sql: Any, params: Any = None) -> Any:
        text = self._text(sql)
        try:
            if _SAVEPOINT.match(text):
                return self._raw.execute(sql, params)
            if self._named or is_psycopg3 and not isinstance(self._raw, ClientCursor):
                with self._scope():
                    return self._raw.execute(sql, params)
            return self._execute_with_prefix(text, params)
        finally:
            if _UNSETTLING.search(text):
                self._db.unbind_tenant()

    def _execute_with_prefix(self, text: str, params: Any) -> Any:
        tenant = self._tenant()
        prefix = self._db.prefix(tenant)
        if not prefix:
            return self._raw.execute(text, params)
        lasting = self._db.in_transaction()
        result = self._raw.execute((prefix if params is None else prefix.replace("%", "%%")) + text, params)
        if is_psycopg3:
            self._raw.nextset()  # the first is the prefix's
        if lasting:
            self._db.bind_tenant(tenant)
        return result

    def executemany(self, sql: Any, param_list: Any) -> Any:
        with self._scope():
            return self._raw.executemany(sql, param_list)

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope():
            return self._raw.callproc(*args, **kwargs)

    def copy_expert(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope():
            return self._raw.copy_expert(*args, **kwargs)

    def copy_from(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope():
            return self._raw.copy_from(*args, **kwargs)

    def copy_to(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope():
            return self._raw.copy_to(*args, **kwargs)

    @contextmanager
    def copy(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._scope(), self._raw.copy(*args, **kwargs) as copy:
            yield copy

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._scope():
            yield from self._raw.stream(*args, **kwargs)

    def _tenant(self) -> Any:
        return current_tenant(f"a query of database {self._db.alias!r}")

    def _text(self, sql: Any) -> str:
        if isinstance(sql, str):
            return sql
        if isinstance(sql, bytes):
            return sql.decode()
        return str(sql.as_string(self._raw))

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """A transaction of the tenant: the present one, or one for what is done inside."""
        db, tenant = self._db, self._tenant()
        prefix = db.prefix(tenant)
        if db.in_transaction():
            if prefix:
                _send(db, prefix)
                db.bind_tenant(tenant)
            yield
            return
        _send(db, "BEGIN; " + prefix)
        db.bind_tenant(tenant)
        try:
            yield
        except BaseException:
            _send(db, "ROLLBACK")
            raise
        finally:
            db.forget_tenant()
        _send(db, "COMMIT")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def __enter__(self) -> TenantCursor:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._raw.close()


def _send(db: DatabaseWrapper, sql: str) -> None:
    with db.connection.cursor() as cursor:
        cursor.execute(sql)
