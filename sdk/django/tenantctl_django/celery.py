"""The tenant travels with a task. Import this module where the Celery application is made.

A task that is sent for a tenant works for it, by what the catalog says of the tenant when the task begins: it may
have been restored meanwhile, which moves its data, or suspended. One that is sent without a tenant, by beat for
instance, has none: its queries are refused, and it may send a task for each tenant by for_each_tenant. Who can write
to the broker can choose the tenant of a task.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from celery.signals import before_task_publish, task_postrun, task_prerun

from .fleet import open_tenant
from .tenant import _current

HEADER = "tenantctl_tenant"


@before_task_publish.connect(weak=False, dispatch_uid="tenantctl_publish")  # type: ignore[misc]
def send_tenant(headers: Optional[Dict[str, Any]] = None, **_: Any) -> None:
    """Adds the tenant of the sender to a task. A task that is sent on keeps its own."""
    tenant = _current.get()
    if headers is not None and tenant is not None:
        headers[HEADER] = tenant.id


@task_prerun.connect(weak=False, dispatch_uid="tenantctl_prerun")  # type: ignore[misc]
def begin(task: Any = None, **_: Any) -> None:
    """Sets the tenant of a task, or none where it is not served: a worker keeps nothing of the task before."""
    if task.request.is_eager:
        return  # it runs where it was called
    _current.set(None)
    sent = getattr(task.request, HEADER, None)
    if sent is not None:
        _current.set(open_tenant(sent))


@task_postrun.connect(weak=False, dispatch_uid="tenantctl_postrun")  # type: ignore[misc]
def end(task: Any = None, **_: Any) -> None:
    """Leaves the worker without a tenant."""
    if not task.request.is_eager:
        _current.set(None)
