"""Test databases with the schemas of TENANTCTL's TEST_TENANTS."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db.backends.postgresql.creation import DatabaseCreation as Stock

from ..conf import option
from ..tenant import Tenant, tenant_context


def sample_tenant(name: str) -> Tenant:
    """A tenant of a test database. It has no role of its own: its tables are the login's."""
    return Tenant(
        id=f"test-{name}", name=name, schema=f"tenant_{name}", database=f"test_tenant_{name}", generation="test"
    )


class DatabaseCreation(Stock):  # type: ignore[misc]
    """Migrates the schema of each test tenant, and nothing else."""

    def create_test_db(self, verbosity: int = 1, *args: Any, **kwargs: Any) -> Any:
        first, *others = [sample_tenant(name) for name in option("TEST_TENANTS")]
        with tenant_context(first):
            made = super().create_test_db(verbosity, *args, **kwargs)
        for tenant in others:
            with tenant_context(tenant):
                call_command(
                    "migrate",
                    verbosity=max(verbosity - 1, 0),
                    interactive=False,
                    database=self.connection.alias,
                    run_syncdb=True,
                )
        return made

    def _create_test_db(self, *args: Any, **kwargs: Any) -> Any:
        name = super()._create_test_db(*args, **kwargs)
        database = {**self.connection.settings_dict, "NAME": name}
        # Its own connection: that of the tests still leads to the database that is not for tests.
        connection = self.connection.__class__(database, alias=self.connection.alias)
        try:
            with connection.login_cursor() as cursor:
                for tenant in option("TEST_TENANTS"):
                    schema = self.connection.ops.quote_name(sample_tenant(tenant).schema)
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        finally:
            connection.close()
        return name
