"""The tenant of each request, for Django.

The tenant comes from a signed assertion (middleware), lives in a context variable, and decides what PostgreSQL,
MongoDB, Redis and Celery are asked. Work without a tenant is refused.
"""

from .tenant import NoTenant, OtherTenant, Tenant, TenantError, current_tenant, tenant_context

__all__ = ["NoTenant", "OtherTenant", "Tenant", "TenantError", "current_tenant", "tenant_context"]
