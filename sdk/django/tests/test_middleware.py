import json
import unittest

from tests.project import ACME, GLOBEX, KEYS

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, override_settings
from asgiref.sync import async_to_sync

from tenantctl_django import conf, tenant_context
from tenantctl_django.assertion import sign
from tenantctl_django.middleware import tenant_middleware
from tenantctl_django.tenant import _current
from tests.test_postgresql import seed


def get(path, host="acme.example.com", asserted="acme.example.com", tenant=ACME, key=KEYS[0], **headers):
    if asserted:
        headers["HTTP_X_TENANT_ASSERTION"] = sign(tenant, asserted, key)
    return Client(raise_request_exception=path != "/failing").get(path, HTTP_HOST=host, **headers)


class MiddlewareTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        seed()

    def tearDown(self):
        self.assertIsNone(_current.get())

    def test_a_request_is_its_tenants(self):
        for path in ["/plain", "/atomic", "/requests", "/async"]:
            for tenant in (ACME, GLOBEX, ACME):
                answer = get(path, "x.example.com", "x.example.com", tenant)
                self.assertEqual(answer.status_code, 200, answer.content)
                self.assertEqual(answer.json()["names"], [tenant.name], path)
                self.assertEqual((answer.json()["role"], answer.json()["schema"]), (tenant.role, tenant.schema))

    def test_a_stream_is_its_tenants(self):
        for tenant in (ACME, GLOBEX):
            answer = get("/streamed", tenant=tenant)
            self.assertIsNone(_current.get())
            self.assertEqual(b"".join(answer.streaming_content).decode(), tenant.name + "\n")

    def test_none_is_taken_instead_of_an_assertion_that_is_missing_or_wrong(self):
        for answer in [
            get("/plain", asserted=None),
            get("/plain", key=b"a key that nobody here knows, long enough"),
            get("/plain", asserted=None, HTTP_X_TENANT_ASSERTION="x"),
            get("/plain", asserted=None, HTTP_X_TENANT_SCHEMA=ACME.schema, HTTP_X_TENANT_ROLE=ACME.role),
        ]:
            self.assertEqual(answer.status_code, 403)
            self.assertEqual(answer["Cache-Control"], "no-store")
            self.assertIn(b"<h1>Not allowed</h1>", answer.content)
        own = get("/plain", HTTP_X_TENANT_SCHEMA=GLOBEX.schema, HTTP_X_TENANT_ROLE=GLOBEX.role, HTTP_X_TENANT_ID="1")
        self.assertEqual(own.json()["names"], ["acme"])

    def test_another_host_is_421(self):
        self.assertEqual(get("/plain", host="globex.example.com").status_code, 421)
        self.assertEqual(get("/plain", host="acme.example.com.evil.example").status_code, 421)
        forwarded = get("/plain", host="globex.example.com", HTTP_X_FORWARDED_HOST="acme.example.com")
        self.assertEqual(forwarded.status_code, 421)

    def test_a_host_is_compared_as_the_resolver_writes_it(self):
        for host in ["ACME.Example.com", "acme.example.com:8443", "acme.example.com."]:
            self.assertEqual(get("/plain", host=host).status_code, 200, host)

    def test_an_exempt_path_has_no_tenant(self):
        self.assertEqual(get("/livez", asserted=None).content, b"alive, without a tenant")
        self.assertEqual(get("/livez").content, b"alive, without a tenant")

    def test_a_thread_without_its_context_is_refused(self):
        self.assertIn(b"needs a tenant and there is none", get("/threaded").content)

    def test_an_error_leaves_no_tenant(self):
        self.assertEqual(get("/failing").status_code, 500)
        self.assertEqual(get("/plain", tenant=GLOBEX).json()["names"], ["globex"])

    def test_a_request_in_an_event_loop_is_its_tenants(self):
        async def ask(path, asserted="testserver"):
            return await AsyncClient().get(path, **{"X-Tenant-Assertion": sign(ACME, asserted, KEYS[0])})

        for path in ["/plain", "/async", "/requests"]:
            self.assertEqual(json.loads(async_to_sync(ask)(path).content)["names"], ["acme"])
        self.assertEqual(async_to_sync(ask)("/plain", "globex.example.com").status_code, 421)

    def test_settings_that_do_not_fit_are_refused_at_the_start(self):
        for setting in [
            {},
            {"ASSERTION_KEYS": ["short"]},
            {"ASSERTION_KEY_FILE": "/does/not/exist"},
            {"ASSERTION_KEYS": settings.KEYS, "ASSERTION_KEY_FILE": "x"},
            {"ASSERTION_KEYS": settings.KEYS, "ASERTION_KEYS": []},
        ]:
            with override_settings(TENANTCTL=setting), self.assertRaises(ImproperlyConfigured):
                tenant_middleware(lambda request: None)
        with override_settings(TENANTCTL={"ASSERTION_KEY_FILE": settings.FACTS["key_file"]}):
            self.assertEqual(conf.assertion_keys(), KEYS)

    def test_the_context_nests(self):
        with tenant_context(ACME):
            with tenant_context(GLOBEX):
                self.assertEqual(_current.get(), GLOBEX)
            self.assertEqual(_current.get(), ACME)
