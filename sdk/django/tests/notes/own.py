from django.test import Client, TestCase, TransactionTestCase

from tenantctl_django import NoTenant, tenant_context
from tenantctl_django.test import TenantTestMixin, assertion_for, use_tenant

from .models import Note


class FirstTest(TenantTestMixin, TestCase):
    def test_rows_are_the_first_tenants(self):
        Note.objects.create(text="of acme")
        self.assertEqual(self.client.get("/notes").json(), ["of acme"])
        with tenant_context(None), self.assertRaises(NoTenant):
            Note.objects.count()


class OtherTest(TenantTestMixin, TestCase):
    tenant = "globex"

    def test_rows_are_the_other_tenants(self):
        self.assertEqual(self.client.get("/notes").json(), [])
        Note.objects.create(text="of globex")
        self.assertEqual(Note.objects.count(), 1)


class BothTest(TransactionTestCase):
    def _fixture_teardown(self):
        for name in ("acme", "globex"):
            with use_tenant(name):
                Note.objects.all().delete()

    def test_rows_of_two(self):
        for name in ("acme", "globex"):
            with use_tenant(name):
                Note.objects.create(text=name)
        for name in ("acme", "globex"):
            answer = Client(HTTP_X_TENANT_ASSERTION=assertion_for(name)).get("/notes")
            self.assertEqual(answer.json(), [name])

    def test_without_an_assertion(self):
        self.assertEqual(Client().get("/notes").status_code, 403)
