"""Pages for people, and JSON for `Accept: application/json`. None of them names a tenant in a query: the tenant of
the request decides which rows, documents and keys there are."""

import json
import os
import zlib
from functools import wraps

from django import forms
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from tenantctl_django import current_tenant

from . import stores
from .models import Order

LATEST = 20


class OrderForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ["customer", "item", "amount_cents"]

    amount_cents = forms.IntegerField(min_value=0, max_value=10**12)


class NoteForm(forms.Form):
    text = forms.CharField(max_length=2000)


def forms_are_protected(view):
    """Forms need a CSRF token. A JSON body needs none: other sites cannot send one without being allowed to."""
    protected = csrf_protect(view)

    @csrf_exempt
    @wraps(view)
    def chosen(request):
        is_json = request.method == "POST" and request.content_type == "application/json"
        return (view if is_json else protected)(request)

    return chosen


def wants_json(request):
    return "application/json" in request.headers.get("Accept", "")


def sent(request):
    """What was sent, by a form or as JSON."""
    if request.content_type != "application/json":
        return request.POST
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def answer(request, template, data, status=200, **people):
    """The same data as JSON, or as a page with what people need besides."""
    if wants_json(request):
        return JsonResponse(data, status=status)
    tenant = current_tenant()
    hue = zlib.crc32(tenant.name.encode()) % 360  # each has its colour
    here = template.partition(".")[0]
    context = {**data, **people, "tenant": tenant, "hue": hue, "here": here, "app": os.getpid()}
    return render(request, template, context, status=status)


def order_data(order):
    return {
        "number": order.number,
        "customer": order.customer,
        "item": order.item,
        "amount_cents": order.amount_cents,
        "created_at": order.created_at,
    }


def note_data(note):
    return {"text": note["text"], "created_at": note["created_at"]}


@require_safe
def home(request):
    orders = [order_data(order) for order in Order.objects.all()[:5]]
    notes = [note_data(note) for note in stores.latest_notes(3)]
    counts = {
        "orders": Order.objects.count(),
        "notes": stores.notes().count_documents({}),
        "visits": stores.count_visit(),
    }
    return answer(
        request,
        "home.html",
        {"tenant": current_tenant().name, **counts},
        latest_orders=orders,
        latest_notes=notes,
        found=stores.postgresql_identity(),
        redis_prefix=current_tenant().redis_prefix,
    )


@forms_are_protected
@require_http_methods(["GET", "HEAD", "POST"])
def orders(request):
    form = OrderForm(sent(request)) if request.method == "POST" else OrderForm()
    if form.is_bound and form.is_valid():
        order = form.save()
        return JsonResponse(order_data(order), status=201) if wants_json(request) else redirect("orders")
    if form.is_bound and wants_json(request):
        return JsonResponse({"errors": form.errors}, status=400)
    data = {"count": Order.objects.count(), "orders": [order_data(order) for order in Order.objects.all()[:LATEST]]}
    return answer(request, "orders.html", data, 400 if form.is_bound else 200, form=form)


@forms_are_protected
@require_http_methods(["GET", "HEAD", "POST"])
def notes(request):
    form = NoteForm(sent(request)) if request.method == "POST" else NoteForm()
    if form.is_bound and form.is_valid():
        stores.add_note(form.cleaned_data["text"])
        return JsonResponse(form.cleaned_data, status=201) if wants_json(request) else redirect("notes")
    if form.is_bound and wants_json(request):
        return JsonResponse({"errors": form.errors}, status=400)
    found = [note_data(note) for note in stores.latest_notes(LATEST)]
    data = {"count": stores.notes().count_documents({}), "notes": found}
    return answer(request, "notes.html", data, 400 if form.is_bound else 200, form=form)


@require_safe
def whoami(request):
    """What each store says of whose it is."""
    return JsonResponse(
        {
            "tenant": current_tenant().name,
            **stores.postgresql_identity(),
            "database": stores.database().name,
            "orders": Order.objects.count(),
            "notes": stores.notes().count_documents({}),
            "visits": stores.visits(),
            "mongo_marker": stores.mongodb_identity(),
            "redis_marker": stores.redis_identity(),
            "app": os.getpid(),
        }
    )


@require_safe
def livez(_request):
    return HttpResponse("alive\n", content_type="text/plain")


def not_found(request, exception=None):
    return answer(request, "404.html", {"error": "there is no such page"}, 404)
