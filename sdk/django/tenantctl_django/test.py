"""Helpers for a project's own tests. The backend makes a schema for each of TENANTCTL's TEST_TENANTS."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ContextManager, Optional, Union

from django.test import Client

from .assertion import HEADER, sign
from .conf import assertion_keys, option
from .postgresql.creation import sample_tenant
from .tenant import Tenant, current_tenant, tenant_context


def use_tenant(tenant: Union[Tenant, str]) -> ContextManager[Optional[Tenant]]:
    """Works for one of the test tenants, by its name, or for a tenant."""
    return tenant_context(sample_tenant(tenant) if isinstance(tenant, str) else tenant)


def assertion_for(tenant: Union[Tenant, str], host: str = "testserver") -> str:
    """What a proxy sends as X-Tenant-Assertion for a tenant."""
    return sign(sample_tenant(tenant) if isinstance(tenant, str) else tenant, host, assertion_keys()[0])


class TenantClient(Client):  # type: ignore[misc]
    """Sends requests as the proxy does, for the tenant of the test."""

    def request(self, **request: Any) -> Any:
        host = request.get("HTTP_HOST") or request.get("SERVER_NAME") or "testserver"
        request.setdefault(HEADER, assertion_for(current_tenant("the test client"), host.partition(":")[0]))
        return super().request(**request)


class TenantTestMixin:
    """Lets a TestCase work for one tenant: class OrderTest(TenantTestMixin, TestCase). Put it first."""

    tenant: Union[Tenant, str, None] = None  # the first of TEST_TENANTS
    client_class = TenantClient
    _entered: ExitStack

    @classmethod
    def setUpClass(cls) -> None:
        with ExitStack() as stack:
            stack.enter_context(use_tenant(cls.tenant or option("TEST_TENANTS")[0]))
            super().setUpClass()  # type: ignore[misc]
            cls._entered = stack.pop_all()

    @classmethod
    def tearDownClass(cls) -> None:
        with cls._entered:
            super().tearDownClass()  # type: ignore[misc]
