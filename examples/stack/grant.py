"""Makes the application's login and lets it become each tenant that there is, as docs/django.md tells. Run it again
after tenants were created; TENANTCTL_POSTGRES_URL may grant the tenants' roles, APP_POSTGRES_URL is the login."""

import os
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import extensions, sql

MISSING = """SELECT r.rolname, current_setting('server_version_num')::int >= 160000
FROM tenantctl.routes t JOIN pg_roles r ON r.rolname = t.role_name
WHERE NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member = %s::regrole)"""


def main():
    login = urlsplit(os.environ["APP_POSTGRES_URL"])
    app = sql.Identifier(unquote(login.username))
    connection = psycopg2.connect(os.environ["TENANTCTL_POSTGRES_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('examples/stack/grant.py'))")
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [unquote(login.username)])
        if cursor.fetchone() is None:
            password = extensions.encrypt_password(
                unquote(login.password), unquote(login.username), connection, "scram-sha-256"
            )
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD %s").format(app), [password])
            cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA tenantctl TO {}").format(app))
            cursor.execute(sql.SQL("GRANT SELECT ON tenantctl.routes TO {}").format(app))
        cursor.execute(MISSING, ['"' + unquote(login.username).replace('"', '""') + '"'])
        for role, narrow in cursor.fetchall():
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), app)
            cursor.execute(grant + sql.SQL(" WITH INHERIT FALSE" if narrow else ""))


if __name__ == "__main__":
    main()
