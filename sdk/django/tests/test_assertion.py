import base64
import hashlib
import hmac
import json
import unittest

from tests.project import ACME, KEYS

from tenantctl_django.assertion import BadAssertion, key_id, sign, verify

NOW = 1_800_000_000


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(head=None, key=KEYS[0], **changes):
    """A token with another head, or with other claims (None: without it), and a signature that fits."""
    parts = sign(ACME, "acme.example.com", KEYS[0], NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    head = {"alg": "HS256", "typ": "JWT", "kid": key_id(key)} if head is None else head
    signed = encoded(head) + "." + encoded(claims)
    return signed + "." + encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())


class AssertionTest(unittest.TestCase):
    def test_one_of_the_resolver_is_read(self):
        from django.conf import settings

        tenant, host = verify(settings.FACTS["assertion"], KEYS, settings.FACTS["asserted_at"])
        self.assertEqual((tenant, host), (ACME, "acme.example.com"))

    def test_each_key_of_a_rotation_verifies(self):
        for key in KEYS:
            self.assertEqual(verify(sign(ACME, "a.example.com", key, NOW), KEYS, NOW), (ACME, "a.example.com"))

    def test_expires_with_a_leeway(self):
        token = sign(ACME, "a.example.com", KEYS[0], NOW)
        verify(token, KEYS, NOW + 90)
        with self.assertRaisesRegex(BadAssertion, "expired"):
            verify(token, KEYS, NOW + 91)

    def test_what_is_no_assertion_is_refused(self):
        good = sign(ACME, "a.example.com", KEYS[0], NOW)
        head, claims, signature = good.split(".")
        hs = {"typ": "JWT", "kid": key_id(KEYS[0])}
        cases = {
            "empty": "",
            "two parts": head + "." + claims,
            "twice": good + "," + good,
            "newline": good + "\n",
            "padded": good + "=",
            "long": "a" * 9000 + "." + claims + "." + signature,
            "no JSON": "AAAA." + claims + "." + signature,
            "a list": encoded([]) + "." + claims + "." + signature,
            "deep": encoded(b"[" * 5000) + "." + claims + "." + signature,
            "alg none": forged({**hs, "alg": "none"}),
            "alg RS256": forged({**hs, "alg": "RS256"}),
            "no alg": forged(hs),
            "crit": forged({**hs, "alg": "HS256", "crit": ["exp"]}),
            "no kid": forged({"alg": "HS256"}),
            "kid no text": forged({"alg": "HS256", "kid": {}}),
            "unknown key": forged(key=b"x" * 40),
            "another's kid": forged({**hs, "alg": "HS256"}, key=KEYS[1]),
            "signature cut": good[:-1],
            "signature of another": ".".join([head, claims, encoded(b"\0" * 32)]),
            "claims of another": ".".join([head, forged(tenant="globex").split(".")[1], signature]),
            "another issuer": forged(iss="somebody"),
            "no exp": forged(exp=None),
            "exp a text": forged(exp="9999999999"),
            "exp true": forged(exp=True),
            "exp NaN": forged(exp=float("nan")),
            "exp without end": forged(exp=float("inf")),
            "not yet": forged(nbf=NOW + 31),
            "no host": forged(host=""),
            "no schema": forged(schema=""),
            "schema no text": forged(schema=["tenant_acme"]),
            "schema with NUL": forged(schema="a\0b"),
            "no role": forged(role=None),
            "no id": forged(sub=None),
        }
        for name, token in cases.items():
            with self.subTest(name), self.assertRaises(BadAssertion):
                verify(token, KEYS, NOW)
        verify(forged(), KEYS, NOW)  # what they are made of is good
