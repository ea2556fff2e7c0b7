import io
import subprocess
import sys
import unittest
import uuid
from dataclasses import replace

from tests.project import ACME, GLOBEX, ODD

import pymongo
from celery import Celery
from celery.contrib.testing.worker import start_worker
from django.conf import settings
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from tenantctl_django import NoTenant, Tenant, TenantError, tenant_context
from tenantctl_django import celery as _  # noqa: F401: its signals
from tenantctl_django.cache import tenant_key
from tenantctl_django.fleet import TenantsFailed, for_each_tenant, open_tenants
from tenantctl_django.mongo import tenant_database
from tests.test_postgresql import names, seed

app = Celery("tests", broker="memory://", backend="cache+memory://")


@app.task
def seen():
    return names()


@app.task
def passed_on():
    return seen.delay().id


class CacheTest(unittest.TestCase):
    def test_tenants_share_no_entry(self):
        for tenant in (ACME, GLOBEX):
            with tenant_context(tenant):
                self.assertIsNone(cache.get("k"))
                cache.set("k", tenant.name)
                self.assertEqual(tenant_key("k"), "{" + tenant.schema + "}:" + tenant.generation + ":k")
        with tenant_context(ACME):
            self.assertEqual(cache.get("k"), "acme")
            self.assertEqual(cache.make_key("k"), "{" + ACME.schema + "}:" + ACME.generation + "::1:k")
        with tenant_context(replace(ACME, generation="after a restore")):
            self.assertIsNone(cache.get("k"))

    def test_outside_a_tenant_there_is_no_key(self):
        for work in [lambda: cache.get("k"), lambda: cache.set("k", 1), lambda: tenant_key("k")]:
            with self.assertRaises(NoTenant):
                work()


class MongoTest(unittest.TestCase):
    def test_each_tenant_has_its_database(self):
        with pymongo.MongoClient(settings.FACTS["mongodb"]) as client:
            for tenant in (ACME, GLOBEX):
                with tenant_context(tenant):
                    tenant_database(client).notes.insert_one({"_id": 1, "of": tenant.name})
            for tenant in (ACME, GLOBEX):
                self.assertEqual(client[tenant.database].notes.find_one()["of"], tenant.name)
            with self.assertRaises(NoTenant):
                tenant_database(client)
            with tenant_context(ODD), self.assertRaisesRegex(TenantError, "has no database"):
                tenant_database(client)


class CeleryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        seed()
        cls.addClassCleanup(connection.close)
        worker = start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL")
        worker.__enter__()
        cls.addClassCleanup(worker.__exit__, None, None, None)

    def test_a_task_works_for_the_tenant_that_sent_it(self):
        for tenant in (ACME, GLOBEX, ACME):
            with tenant_context(tenant):
                sent = seen.delay()
            self.assertEqual(sent.get(timeout=20), [tenant.name])

    def test_a_task_that_a_task_sends_is_the_same_tenants(self):
        with tenant_context(GLOBEX):
            sent = passed_on.delay()
        self.assertEqual(app.AsyncResult(sent.get(timeout=20)).get(timeout=20), ["globex"])

    def test_a_task_without_a_tenant_is_refused_its_query(self):
        with tenant_context(ACME):
            seen.delay().get(timeout=20)
        with self.assertRaises(Exception) as caught:
            seen.delay().get(timeout=20)
        self.assertIn("needs a tenant", str(caught.exception))

    def test_a_header_that_is_none_gives_no_tenant(self):
        for header in ("acme", {"id": ACME.id}, str(uuid.uuid4()), ODD.id):
            with tenant_context(ACME):
                seen.delay().get(timeout=20)
            with self.assertRaises(Exception) as caught:
                seen.apply_async(headers={"tenantctl_tenant": header}).get(timeout=20)
            self.assertIn("needs a tenant", str(caught.exception))

    def test_a_task_sees_the_tenant_as_it_is_when_it_begins(self):
        with tenant_context(replace(ACME, schema=GLOBEX.schema, role=GLOBEX.role)):  # as it was before, say
            sent = seen.delay()
        self.assertEqual(sent.get(timeout=20), ["acme"])

    def test_an_eager_task_stays_where_it_is_called(self):
        with tenant_context(ACME):
            self.assertEqual(seen.apply().get(), ["acme"])
            self.assertEqual(names(), ["acme"])


class FleetTest(unittest.TestCase):
    def setUp(self):
        seed()
        self.addCleanup(connection.close)

    def test_each_tenant_that_is_open_has_its_turn(self):
        self.assertEqual(for_each_tenant(lambda tenant: names()), {"acme": ["acme"], "globex": ["globex"]})
        self.assertEqual(open_tenants(["acme"]), [ACME])

    def test_the_catalog_may_be_another_database(self):
        with override_settings(TENANTCTL={**settings.TENANTCTL, "CATALOG_ALIAS": "plain"}):
            with tenant_context(ACME), transaction.atomic():
                names()
                self.assertEqual([tenant.name for tenant in open_tenants()], ["acme", "globex"])

    def test_one_that_fails_stops_nobody(self):
        def work(tenant):
            if tenant == ACME:
                with transaction.atomic():
                    connection.cursor().execute("SELECT * FROM no_such_table")
            return names()

        with self.assertRaisesRegex(TenantsFailed, "1 of 2 tenants failed: acme: relation") as caught:
            for_each_tenant(work)
        self.assertEqual(caught.exception.results, {"globex": ["globex"]})

    def test_one_that_is_not_served_is_named(self):
        for name in ("nobody", "closed"):
            with self.assertRaisesRegex(TenantError, f"{name}: no such tenant, or it is not served now"):
                for_each_tenant(lambda tenant: None, ["acme", name])

    def test_a_management_command_runs_in_tenants(self):
        out = io.StringIO()
        call_command("tenant_exec", "--all", "count_customers", stdout=out)
        self.assertEqual(out.getvalue(), "== acme\n1 customers\n== globex\n1 customers\n")
        out = io.StringIO()
        call_command("tenant_exec", "--tenant", "globex", "count_customers", stdout=out)
        self.assertEqual(out.getvalue(), "== globex\n1 customers\n")
        with self.assertRaisesRegex(CommandError, "nobody: no such tenant"):
            call_command("tenant_exec", "--tenant", "nobody", "count_customers")
        err = io.StringIO()
        with self.assertRaisesRegex(CommandError, "2 of 2 tenants failed"):
            call_command("tenant_exec", "--all", "loaddata", "none.json", stdout=io.StringIO(), stderr=err)
        self.assertIn("acme: No fixture named 'none'", err.getvalue())


class HelpersTest(unittest.TestCase):
    def test_a_project_tests_itself(self):
        ran = subprocess.run(
            [sys.executable, "-m", "django", "test", "tests.notes.own", "--settings", "tests.notes.settings"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stderr, r"Ran 4 tests")


class TenantTest(unittest.TestCase):
    def test_a_tenant_without_a_schema_is_none(self):
        for schema in ("", "a\0"):
            with self.assertRaises(ValueError):
                Tenant(id=str(uuid.uuid4()), name="acme", schema=schema)
