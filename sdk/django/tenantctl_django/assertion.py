"""Assertions: what a resolver says of a request, a JWT by HS256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from typing import Any, Dict, Optional, Sequence, Tuple

from .tenant import Tenant

HEADER = "HTTP_X_TENANT_ASSERTION"
LEEWAY = 30  # seconds that the clocks of two machines may be apart
_ISSUER = "tenantctl"
_AGE = 60
_LONGEST = 8192
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_TEXTS = ("sub", "host", "tenant", "state", "schema", "role", "database", "gen")


class BadAssertion(Exception):
    """An assertion that is none, with the reason for the log."""


def key_id(key: bytes) -> str:
    """The name of a key in the head of an assertion."""
    return hashlib.sha256(key).digest()[:4].hex()


def verify(token: str, keys: Sequence[bytes], now: Optional[float] = None) -> Tuple[Tenant, str]:
    """The tenant of a valid assertion, and the host of the request that it was made for."""
    parts = _FORM.fullmatch(token) if len(token) <= _LONGEST else None
    if parts is None:
        raise BadAssertion("it is no signed JWT")
    head = _decoded(parts[1])
    if head.get("alg") != "HS256" or "crit" in head:
        raise BadAssertion("its algorithm is not HS256")
    signed = parts[0].rpartition(".")[0]
    of_id = [key for key in keys if key_id(key) == head.get("kid")]
    if not of_id:
        raise BadAssertion("it is signed by a key that is not known")
    if not any([hmac.compare_digest(_signature(key, signed), parts[3]) for key in of_id]):
        raise BadAssertion("its signature is wrong")
    claims = _decoded(parts[2])
    _check_times(claims, time.time() if now is None else now)
    if claims.get("iss") != _ISSUER or not all(isinstance(claims.get(name), str) for name in _TEXTS):
        raise BadAssertion("it is no assertion of a tenant")
    if not (claims["sub"] and claims["host"] and claims["schema"] and claims["gen"] and _is_int(claims.get("rev"))):
        raise BadAssertion("it is no assertion of a tenant")
    try:
        tenant = Tenant(
            claims["sub"],
            claims["tenant"],
            claims["schema"],
            claims["role"],
            claims["database"],
            claims["state"],
            claims["rev"],
            claims["gen"],
        )
    except ValueError as err:
        raise BadAssertion(str(err)) from err
    return tenant, claims["host"]


def sign(tenant: Tenant, host: str, key: bytes, now: Optional[float] = None) -> str:
    """An assertion as a resolver makes it, for tests."""
    issued = int(time.time() if now is None else now)
    head = {"alg": "HS256", "typ": "JWT", "kid": key_id(key)}
    claims = {
        "iss": _ISSUER,
        "sub": tenant.id,
        "host": host,
        "tenant": tenant.name,
        "state": tenant.state,
        "schema": tenant.schema,
        "role": tenant.role,
        "database": tenant.database,
        "rev": tenant.revision,
        "gen": tenant.generation,
        "iat": issued,
        "exp": issued + _AGE,
    }
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{_signature(key, signed)}"


def _check_times(claims: Dict[str, Any], now: float) -> None:
    expires, not_before = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int) or not isinstance(not_before, int):
        raise BadAssertion("it does not expire")
    if now > expires + LEEWAY:
        raise BadAssertion("it has expired")
    if now < not_before - LEEWAY:
        raise BadAssertion("it is not valid yet")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _signature(key: bytes, signed: str) -> str:
    return _encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(part: str) -> Dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise BadAssertion("it is no signed JWT") from None
    if not isinstance(value, dict):
        raise BadAssertion("it is no signed JWT")
    return value
