-- The role that tenantctl works as (postgres.url): no superuser, and no owner of the database. For PostgreSQL 13 and newer. As a
-- superuser, once in the database that the tenants are to live in:
--
--   psql -d app -v role=tenantctl -v database=app -v password="$PASSWORD" -f provisioner.sql
--
-- docs/security.md tells what each line is for.

-- CREATEROLE: a role for each tenant. From PostgreSQL 16 on it is a right over the roles alone that it has made itself.
CREATE ROLE :"role" LOGIN CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD :'password';

-- CREATE: a schema for each tenant, and the catalog's. It owns them, and nothing else.
GRANT CONNECT, CREATE ON DATABASE :"database" TO :"role";

-- Nobody makes tables in a schema that everybody uses. It is so by itself from PostgreSQL 15 on.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- Only where fleet.max_replication_lag or fleet.max_active is set:
-- GRANT pg_read_all_stats TO :"role";
