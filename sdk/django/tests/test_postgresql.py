import contextvars
import io
import threading
import unittest

from tests.project import ACME, GLOBEX, ODD, TENANTS

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction
from django.db.utils import DatabaseError
from django.test.utils import CaptureQueriesContext

from tenantctl_django import NoTenant, OtherTenant, TenantError, tenant_context
from tests.shop.models import Customer

try:
    from psycopg import sql
except ImportError:
    from psycopg2 import sql
try:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3
except ImportError:
    from psycopg2 import sql

    is_psycopg3 = False


def seed():
    """Gives each tenant one customer, named as the tenant."""
    for tenant in TENANTS.values():
        with tenant_context(tenant):
            Customer.objects.all().delete()
            Customer.objects.create(email="name@example.com", name=tenant.name)


def names(alias="default"):
    return list(Customer.objects.using(alias).order_by("id").values_list("name", flat=True))


def session(alias="default"):
    """What the connection itself is, without a tenant."""
    with connections[alias].connection.cursor() as cursor:
        cursor.execute("SELECT current_user = session_user, current_setting('search_path'), pg_backend_pid()")
        return cursor.fetchone()


class Case(unittest.TestCase):
    alias = "default"

    def setUp(self):
        seed()
        self.assertFalse(self.of_a_tenant())

    def tearDown(self):
        self.assertFalse(self.of_a_tenant())
        for each in connections.all():
            each.close()

    def of_a_tenant(self):
        with tenant_context(ACME):
            names(self.alias)
        same, path, _ = session(self.alias)
        if not connections[self.alias].get_autocommit():
            connections[self.alias].rollback()
        return not same or "tenant" in path or ACME.schema in path

    def refused(self):
        return self.assertRaisesRegex(NoTenant, "needs a tenant and there is none")


class StatementTest(Case):
    def test_one_connection_serves_tenants_in_turn_and_keeps_nothing(self):
        with tenant_context(ACME):
            names()
        pid = session()[2]
        for _ in range(20):
            for tenant in TENANTS.values():
                with tenant_context(tenant):
                    self.assertEqual(names(), [tenant.name])
                self.assertEqual(session(), (True, '"$user", public', pid))

    def test_a_statement_outside_a_tenant_is_refused(self):
        for work in [
            lambda: names(),
            lambda: Customer.objects.create(email="x", name="x"),
            lambda: list(Customer.objects.iterator()),
            lambda: Customer.objects.bulk_create([Customer(email="x", name="x")]),
            lambda: connection.cursor().execute("SELECT 1"),
            lambda: connection.cursor().executemany("SELECT %s", [(1,)]),
            lambda: connection.cursor().callproc("now"),
            lambda: connection.introspection.table_names(),
        ]:
            with self.refused():
                work()
            with transaction.atomic(), self.refused():
                work()

    def test_the_login_itself_reaches_nobodys_tables(self):
        with tenant_context(ACME):
            names()
        with connection.connection.cursor() as cursor, self.assertRaisesRegex(Exception, "permission denied"):
            cursor.execute(f'SELECT * FROM "{ACME.schema}".customers')
        with tenant_context(ACME), self.assertRaisesRegex(ProgrammingError, "permission denied"):
            connection.cursor().execute(f'SELECT * FROM "{GLOBEX.schema}".customers')

    def test_a_statement_costs_no_round_trip_more_and_no_query_more(self):
        with tenant_context(ACME), CaptureQueriesContext(connection) as queries:
            names()
        self.assertEqual(len(queries), 1)

    def test_forms_of_statements(self):
        with tenant_context(ODD):
            cursor = connection.cursor()
            for text, params in [
                ("SELECT name, '100%%' FROM customers WHERE name = %s", [ODD.name]),
                ("SELECT name, '100%' FROM customers", None),
                (sql.SQL("SELECT name, {} FROM {}").format(sql.Literal("100%"), sql.Identifier("customers")), None),
                ("WITH c AS (SELECT * FROM customers) SELECT name, '100%%' FROM c WHERE %s", (True,)),
                ("/* what */ SELECT name, '100%' FROM customers -- end", None),
            ]:
                cursor.execute(text, params)
                self.assertEqual(cursor.fetchall(), [(ODD.name, "100%")])
            cursor.execute("UPDATE customers SET name = name")
            self.assertEqual(cursor.rowcount, 1)
            cursor.executemany("INSERT INTO customers (email, name) VALUES (%s, %s)", [("b", "b"), ("c", "c")])
            self.assertEqual(cursor.rowcount, 2)
            with self.assertRaises(IntegrityError):
                cursor.executemany("INSERT INTO customers (email, name) VALUES (%s, %s)", [("d", "d"), ("b", "b")])
            self.assertEqual(names(), [ODD.name, "b", "c"])  # all of its rows, or none
            Customer.objects.filter(email__in=["b", "c"]).delete()
            self.assertFalse(Customer.objects.filter(email="100%").exists())

    def test_copy_is_the_tenants(self):
        with tenant_context(GLOBEX):
            out = io.StringIO()
            with connection.cursor() as cursor:
                if is_psycopg3:
                    with cursor.copy("COPY customers (name) TO STDOUT") as copy:
                        out.write(b"".join(map(bytes, copy)).decode())
                else:
                    cursor.copy_expert("COPY customers (name) TO STDOUT", out)
            self.assertEqual(out.getvalue(), GLOBEX.name + "\n")
        if not is_psycopg3:
            with connection.cursor() as cursor, self.refused():
                cursor.copy_expert("COPY customers (name) TO STDOUT", out)

    def test_a_server_side_cursor_is_the_tenants(self):
        for tenant in (ACME, GLOBEX):
            with tenant_context(tenant):
                Customer.objects.bulk_create([Customer(email=f"{n}", name=tenant.name) for n in range(250)])
                rows = Customer.objects.iterator(chunk_size=100)
                first = next(rows)
                self.assertEqual(connection.connection.info.transaction_status, 0)
            with tenant_context(ACME):
                self.assertIn(ACME.name, names())  # between its pieces
            self.assertEqual({first.name} | {row.name for row in rows}, {tenant.name})
            with tenant_context(tenant), transaction.atomic():
                self.assertEqual({row.name for row in Customer.objects.iterator(chunk_size=100)}, {tenant.name})

    def test_a_temporary_table_never_stands_before_the_tenants(self):
        with tenant_context(ACME):
            connection.cursor().execute("CREATE TEMPORARY TABLE customers AS SELECT 0 AS id, 'temporary' AS name")
            self.assertEqual(names(), ["acme"])
        with tenant_context(GLOBEX):
            self.assertEqual(names(), ["globex"])
            with self.assertRaisesRegex(ProgrammingError, "permission denied"):
                connection.cursor().execute("SELECT * FROM pg_temp.customers")
        connection.close()

    def test_a_schema_that_is_missing_is_no_fall_back_to_public(self):
        gone = type(ACME)(id="1", name="gone", schema="no_such_schema", role=ACME.role)
        with tenant_context(gone), self.assertRaisesRegex(ProgrammingError, "does not exist"):
            names()
        nobody = type(ACME)(id="1", name="gone", schema=ACME.schema, role="no_such_role")
        with tenant_context(nobody), self.assertRaisesRegex(DatabaseError, "does not exist"):
            names()

    def test_prepared_statements_are_refused(self):
        bad = {**connection.settings_dict, "OPTIONS": {"prepare_threshold": 5}}
        with tenant_context(ACME), self.assertRaisesRegex(ImproperlyConfigured, "leave it out"):
            type(connections["default"])(bad).cursor()


class TransactionTest(Case):
    def test_nested_transactions_and_their_savepoints(self):
        with tenant_context(ACME):
            with transaction.atomic():
                with self.assertRaises(ValueError), transaction.atomic():
                    self.assertEqual(names(), ["acme"])  # the first statement is within the savepoint
                    Customer.objects.create(email="gone", name="gone")
                    raise ValueError
                self.assertEqual(names(), ["acme"])
                with self.assertRaises(IntegrityError), transaction.atomic():
                    Customer.objects.create(email="name@example.com", name="twice")
                with transaction.atomic():
                    Customer.objects.create(email="kept", name="kept")
            self.assertEqual(names(), ["acme", "kept"])

    def test_a_transaction_may_begin_and_end_outside_its_tenant(self):
        with transaction.atomic():
            with transaction.atomic():
                with tenant_context(ACME):
                    Customer.objects.create(email="kept", name="kept")
                with self.refused():
                    names()
            with self.assertRaises(ValueError), transaction.atomic():
                with tenant_context(ACME):
                    Customer.objects.create(email="gone", name="gone")
                raise ValueError
            with tenant_context(ACME):
                self.assertEqual(names(), ["acme", "kept"])

    def test_a_transaction_is_of_one_tenant(self):
        with tenant_context(ACME), transaction.atomic():
            names()
            with tenant_context(GLOBEX), self.assertRaisesRegex(OtherTenant, "belongs to tenant acme"):
                names()
            with transaction.atomic(), tenant_context(GLOBEX), self.assertRaises(OtherTenant):
                Customer.objects.create(email="x", name="x")
            self.assertEqual(names(), ["acme"])
        with tenant_context(GLOBEX):
            self.assertEqual(names(), ["globex"])

    def test_an_error_in_a_transaction(self):
        for tenant in (ACME, GLOBEX):
            with tenant_context(tenant):
                with self.assertRaises(ProgrammingError), transaction.atomic():
                    connection.cursor().execute("SELECT * FROM no_such_table")
                with self.assertRaises(IntegrityError), transaction.atomic():
                    Customer.objects.create(email="gone", name="gone")
                    Customer.objects.create(email="name@example.com", name="twice")
                self.assertEqual(names(), [tenant.name])

    def test_what_changes_the_role_lasts_for_no_other_statement(self):
        for change in ["RESET ROLE", "SET search_path TO public", "SET LOCAL ROLE NONE", "SET LOCAL search_path = ''",
                       "SELECT set_config('search_path', 'public', true)"]:
            with tenant_context(ACME), transaction.atomic():
                names()
                connection.cursor().execute(change)
                self.assertEqual(names(), ["acme"], change)
                transaction.set_rollback(True)
        with tenant_context(ACME), transaction.atomic():
            names()
            connection.cursor().execute("COMMIT")
            self.assertEqual(names(), ["acme"])

    def test_without_autocommit(self):
        with tenant_context(ACME):
            names()
        connection.set_autocommit(False)
        for tenant in (ACME, GLOBEX, ODD):
            for end in (connection.commit, connection.rollback):
                with tenant_context(tenant):
                    self.assertEqual(names(), [tenant.name])
                end()
        connection.rollback()
        connection.set_autocommit(True)

    def test_on_commit_runs_for_the_tenant_that_it_is_called_in(self):
        seen = []
        with tenant_context(GLOBEX):
            with transaction.atomic():
                names()
                transaction.on_commit(lambda: seen.extend(names()))
        self.assertEqual(seen, ["globex"])

    def test_other_databases_are_on_their_own(self):
        with tenant_context(ACME), transaction.atomic():
            self.assertEqual(names(), ["acme"])
            self.assertEqual(names("requests"), ["acme"])
            with connections["plain"].cursor() as cursor:  # Django's own backend knows no tenant
                cursor.execute("SELECT current_user = session_user")
                self.assertEqual(cursor.fetchone(), (True,))
        with connections["plain"].cursor() as cursor:
            cursor.execute("SELECT 1")

    def test_the_catalog_is_not_read_in_a_transaction(self):
        with tenant_context(ACME), transaction.atomic():
            names()
            with self.assertRaises(TenantError), connection.login_cursor():
                pass


class PoolerTest(Case):
    """PgBouncer in transaction mode, with fewer connections than there are threads."""

    alias = "pooled"

    def test_threads_of_many_tenants_share_connections(self):
        wrong, pids, done = [], set(), []

        def work(tenant):
            try:
                for _ in range(40):
                    got = names("pooled")
                    with transaction.atomic("pooled"):
                        got += names("pooled")
                        with connections["pooled"].cursor() as cursor:
                            cursor.execute("SELECT current_user, pg_backend_pid()")
                            role, pid = cursor.fetchone()
                    pids.add(pid)
                    if got != [tenant.name] * 2 or role != tenant.role:
                        wrong.append((tenant.name, got, role))
                done.append(tenant)
            finally:
                connections["pooled"].close()

        threads = []
        for tenant in [*TENANTS.values()] * 3:
            with tenant_context(tenant):
                context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(work, tenant)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(len(done), 9)
        self.assertLessEqual(len(pids), 2)
