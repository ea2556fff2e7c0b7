"""Views that tell whose rows they see."""

import asyncio
import threading

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from tenantctl_django import NoTenant, current_tenant

from .models import Customer


def seen(alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_user, current_schema(), pg_backend_pid()")
        role, schema, pid = cursor.fetchone()
    names = list(Customer.objects.using(alias).filter(email="name@example.com").values_list("name", flat=True))
    return {"tenant": current_tenant().name, "role": role, "schema": schema, "names": names, "pid": pid}


def plain(request):
    return JsonResponse(seen())


def atomic(request):
    with transaction.atomic():
        first = seen()
        with transaction.atomic():
            second = seen()
    return JsonResponse(second if first == second else {})


def requests(request):
    return JsonResponse(seen("requests"))


def streamed(request):
    def parts():
        for customer in Customer.objects.iterator():
            yield customer.name + "\n"

    return StreamingHttpResponse(parts())


def failing(request):
    with transaction.atomic():
        seen()
        raise ValueError("no")


@transaction.non_atomic_requests(using="requests")  # Django has none for async views
async def unblocked(request):
    first = await sync_to_async(seen)()
    await asyncio.sleep(0.001)
    both = await asyncio.gather(sync_to_async(seen)(), sync_to_async(seen, thread_sensitive=False)())
    same = all((b["tenant"], b["names"]) == (first["tenant"], first["names"]) for b in both)
    return JsonResponse(first if same else {})


def threaded(request):
    """A thread that was started without its context has no tenant."""
    said = []

    def work():
        try:
            seen()
        except NoTenant as err:
            said.append(str(err))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return HttpResponse(said)


def livez(request):
    try:
        seen()
    except NoTenant:
        return HttpResponse("alive, without a tenant")
    return HttpResponse("has a tenant", status=500)


urlpatterns = [
    path("plain", plain),
    path("atomic", atomic),
    path("requests", requests),
    path("streamed", streamed),
    path("failing", failing),
    path("async", unblocked),
    path("threaded", threaded),
    path("livez", livez),
]
