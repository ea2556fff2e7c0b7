"""The tenant of a request, from the assertion that the proxy has got from the resolver."""

from __future__ import annotations

import logging
from typing import Any, AsyncIterator, Callable, Iterator, Optional, Union

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from .assertion import HEADER, BadAssertion, verify
from .conf import assertion_keys, option
from .tenant import Tenant, tenant_context

try:
    from asgiref.sync import iscoroutinefunction
except ImportError:  # before asgiref 3.6
    from asyncio import iscoroutinefunction

log = logging.getLogger("tenantctl")

# As the pages of a resolver look.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body{{font:1.05rem/1.55 system-ui,"DejaVu Sans",sans-serif;margin:0;padding:16vh 1.5rem 0}}
body{{color:#1d2330;background:#f4f5f7}}
main{{max-width:31rem;margin:0 auto;padding:2rem 2.25rem;background:#fff;border:1px solid #e1e4ea;border-radius:.9rem}}
h1{{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}}p{{margin:.6rem 0}}small{{color:#667085}}
@media(prefers-color-scheme:dark){{body{{color:#e7e9ee;background:#12151b}}
main{{background:#1b1f27;border-color:#2d333f}}}}
</style></head><body><main><small>{status}</small><h1>{title}</h1><p>{text}</p></main></body></html>
"""
_WORDS = {
    403: ("Not allowed", "This service is reached by its own address alone."),
    421: ("Wrong address", "This request was meant for another address."),
}


@sync_and_async_middleware  # type: ignore[misc]
def tenant_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Sets the tenant of each request and request.tenant, or refuses: 403 without a valid assertion, 421 if it is
    for another host. There is no tenant that is taken instead.

    Keys are read when the server starts: reload it after a rotation.
    """
    keys, exempt = assertion_keys(), frozenset(option("EXEMPT_PATHS"))

    def admit(request: HttpRequest) -> Union[Tenant, HttpResponse, None]:
        if request.path_info in exempt:
            return None
        token = request.META.get(HEADER, "")
        if not token:
            return _refusal(request, 403, "the request has no assertion")
        try:
            tenant, host = verify(token, keys)
        except BadAssertion as err:
            return _refusal(request, 403, f"the assertion is not good: {err}")
        own = request.get_host().lower().partition(":")[0]
        if (own[:-1] if own.endswith(".") else own) != host:
            return _refusal(request, 421, "the assertion is for another host")
        request.tenant = tenant
        return tenant

    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> Any:
            tenant = admit(request)
            if isinstance(tenant, HttpResponse):
                return tenant
            with tenant_context(tenant):
                return _streamed(await get_response(request), tenant)

        return middleware

    def middleware_sync(request: HttpRequest) -> Any:
        tenant = admit(request)
        if isinstance(tenant, HttpResponse):
            return tenant
        with tenant_context(tenant):
            return _streamed(get_response(request), tenant)

    return middleware_sync


def _refusal(request: HttpRequest, status: int, reason: str) -> HttpResponse:
    log.warning("refused with %d: %s", status, reason, extra={"status_code": status, "request": request})
    title, text = _WORDS[status]
    response = HttpResponse(_PAGE.format(status=status, title=title, text=text), status=status)
    response["Cache-Control"] = "no-store"
    response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response


def _streamed(response: Any, tenant: Optional[Tenant]) -> Any:
    """A response whose content is made later, for the same tenant."""
    if getattr(response, "streaming", False) and getattr(response, "file_to_stream", None) is None:
        if getattr(response, "is_async", False):
            response.streaming_content = _later_async(response.streaming_content, tenant)
        else:
            response.streaming_content = _later(response.streaming_content, tenant)
    return response


def _later(parts: Iterator[bytes], tenant: Optional[Tenant]) -> Iterator[bytes]:
    try:
        while True:
            with tenant_context(tenant):
                try:
                    part = next(parts)
                except StopIteration:
                    return
            yield part
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            with tenant_context(tenant):
                close()


async def _later_async(parts: AsyncIterator[bytes], tenant: Optional[Tenant]) -> AsyncIterator[bytes]:
    while True:
        with tenant_context(tenant):
            try:
                part = await parts.__anext__()
            except StopAsyncIteration:
                return
        yield part
