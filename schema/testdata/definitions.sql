SET check_function_bodies = off;
SET search_path = :"tenant_schema";
CREATE COLLATION :"tenant_schema".plain (provider = libc, locale = 'C');
COMMENT ON COLLATION :"tenant_schema".plain IS 'C';
CREATE TYPE :"tenant_schema".hue AS ENUM (
);
CREATE TYPE :"tenant_schema".label;
CREATE TYPE :"tenant_schema".nothing AS (
);
CREATE TYPE :"tenant_schema".person AS (
	name text,
	age integer
);
CREATE DOMAIN :"tenant_schema".positive AS integer;
CREATE FUNCTION :"tenant_schema".cased(n integer) RETURNS text
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (n > 0) THEN 'a'::text
             ELSE 'b'::text
         END AS "case";
 SELECT 'c;'::text;
END;
CREATE FUNCTION :"tenant_schema".compare(integer, integer) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT
    AS $_$SELECT $1 - $2$_$;
CREATE PROCEDURE :"tenant_schema".done(VARIADIC a integer[])
    LANGUAGE sql
    AS $$SELECT 1$$;
COMMENT ON PROCEDURE :"tenant_schema".done(VARIADIC a integer[]) IS 'done';
CREATE FUNCTION :"tenant_schema".less(integer, integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    AS $_$SELECT $1 < $2$_$;
CREATE FUNCTION :"tenant_schema".nop() RETURNS trigger
    LANGUAGE plpgsql
    AS $$BEGIN RETURN NULL; END$$;
CREATE FUNCTION :"tenant_schema".rows_of() RETURNS TABLE(language text, n integer)
    LANGUAGE plpgsql SECURITY DEFINER LEAKPROOF ROWS 7
    AS $$ BEGIN RETURN; END $$;
CREATE FUNCTION :"tenant_schema".same(integer, integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    AS $_$SELECT $1 = $2$_$;
ALTER FUNCTION :"tenant_schema".same(integer, integer) DEPENDS ON EXTENSION postgres_fdw;
CREATE FUNCTION :"tenant_schema".tagged(language text, return text) RETURNS text
    LANGUAGE sql IMMUTABLE COST 7 PARALLEL SAFE
    SET search_path TO :'tenant_schema'
    SET default_text_search_config TO 'simple'
    RETURN (language || return);
CREATE FUNCTION :"tenant_schema".windowed() RETURNS bigint
    LANGUAGE sql WINDOW
    AS $$SELECT 1::bigint$$;
CREATE AGGREGATE :"tenant_schema".middle(double precision ORDER BY double precision) (
    SFUNC = ordered_set_transition,
    STYPE = internal,
    FINALFUNC = percentile_cont_float8_final
);
CREATE AGGREGATE :"tenant_schema".total(integer) (
    SFUNC = int4_sum,
    STYPE = bigint
);
COMMENT ON AGGREGATE :"tenant_schema".total(integer) IS 'all';
CREATE OPERATOR :"tenant_schema".<<< (
    FUNCTION = :"tenant_schema".less,
    LEFTARG = integer,
    RIGHTARG = integer
);
CREATE OPERATOR :"tenant_schema".=== (
    FUNCTION = :"tenant_schema".same,
    LEFTARG = integer,
    RIGHTARG = integer,
    COMMUTATOR = OPERATOR(:"tenant_schema".===)
);
COMMENT ON OPERATOR :"tenant_schema".=== (integer, integer) IS 'the same';
CREATE OPERATOR :"tenant_schema".@#@ (
    FUNCTION = int4um,
    RIGHTARG = integer
);
COMMENT ON OPERATOR :"tenant_schema".@#@ (NONE, integer) IS 'minus';
CREATE OPERATOR FAMILY :"tenant_schema".numbers USING btree;
ALTER OPERATOR FAMILY :"tenant_schema".numbers USING btree ADD
    OPERATOR 1 <(integer,bigint);
COMMENT ON OPERATOR FAMILY :"tenant_schema".numbers USING btree IS 'many numbers';
CREATE OPERATOR CLASS :"tenant_schema".number
    FOR TYPE integer USING btree FAMILY :"tenant_schema".numbers AS
    OPERATOR 1 :"tenant_schema".<<<(integer,integer) ,
    OPERATOR 3 :"tenant_schema".===(integer,integer) ,
    FUNCTION 1 (integer, integer) :"tenant_schema".compare(integer,integer);
COMMENT ON OPERATOR CLASS :"tenant_schema".number USING btree IS 'numbers';
CREATE DEFAULT CONVERSION :"tenant_schema".conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION :"tenant_schema".conv IS 'latin';
CREATE CONVERSION :"tenant_schema".conv2 FOR 'LATIN2' TO 'UTF8' FROM iso8859_to_utf8;
CREATE TEXT SEARCH PARSER :"tenant_schema".words (
    START = prsd_start,
    GETTOKEN = prsd_nexttoken,
    END = prsd_end,
    HEADLINE = prsd_headline,
    LEXTYPES = prsd_lextype );
COMMENT ON TEXT SEARCH PARSER :"tenant_schema".words IS 'c';
CREATE TEXT SEARCH TEMPLATE :"tenant_schema".templ (
    INIT = dsimple_init,
    LEXIZE = dsimple_lexize );
COMMENT ON TEXT SEARCH TEMPLATE :"tenant_schema".templ IS 'd';
CREATE TEXT SEARCH DICTIONARY :"tenant_schema".dict (
    TEMPLATE = :"tenant_schema".templ );
COMMENT ON TEXT SEARCH DICTIONARY :"tenant_schema".dict IS 'b';
CREATE TEXT SEARCH CONFIGURATION :"tenant_schema".conf (
    PARSER = :"tenant_schema".words );
ALTER TEXT SEARCH CONFIGURATION :"tenant_schema".conf
    ADD MAPPING FOR asciiword WITH :"tenant_schema".dict;
ALTER TEXT SEARCH CONFIGURATION :"tenant_schema".conf
    ADD MAPPING FOR word WITH :"tenant_schema".dict;
COMMENT ON TEXT SEARCH CONFIGURATION :"tenant_schema".conf IS 'a';
CREATE TABLE :"tenant_schema".base (
    a integer NOT NULL,
    b text,
    c integer,
    d integer
)
WITH (fillfactor='70', toast.autovacuum_enabled=off);
ALTER TABLE ONLY :"tenant_schema".base ALTER COLUMN b SET STATISTICS 7;
ALTER TABLE ONLY :"tenant_schema".base ALTER COLUMN b SET STORAGE MAIN;
ALTER TABLE ONLY :"tenant_schema".base ALTER COLUMN c SET (n_distinct=5, n_distinct_inherited=6);
ALTER TABLE ONLY :"tenant_schema".base FORCE ROW LEVEL SECURITY;
CREATE SEQUENCE :"tenant_schema"."dotted.name"
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE :"tenant_schema"."dotted.name" OWNED BY :"tenant_schema".base.d;
COMMENT ON SEQUENCE :"tenant_schema"."dotted.name" IS 'dots';
CREATE FOREIGN TABLE :"tenant_schema".far (
    a integer DEFAULT 7 NOT NULL,
    c text,
    CONSTRAINT low CHECK ((a > 0))
)
SERVER elsewhere
OPTIONS (
    schema_name 's',
    table_name 't'
);
ALTER FOREIGN TABLE ONLY :"tenant_schema".far ALTER COLUMN a SET STATISTICS 7;
ALTER FOREIGN TABLE :"tenant_schema".far ALTER COLUMN a OPTIONS (
    column_name 'b'
);
COMMENT ON FOREIGN TABLE :"tenant_schema".far IS 'far';
COMMENT ON COLUMN :"tenant_schema".far.a IS 'a';
CREATE MATERIALIZED VIEW :"tenant_schema".kept
WITH (fillfactor='60') AS
 SELECT base.a,
    base.b
   FROM :"tenant_schema".base
  WITH NO DATA;
ALTER MATERIALIZED VIEW :"tenant_schema".kept DEPENDS ON EXTENSION postgres_fdw;
ALTER TABLE ONLY :"tenant_schema".kept ALTER COLUMN b SET STATISTICS 7;
COMMENT ON MATERIALIZED VIEW :"tenant_schema".kept IS 'kept';
CREATE TABLE :"tenant_schema".tree (
    a integer,
    b integer
)
PARTITION BY LIST (a);
CREATE TABLE :"tenant_schema".leaf (
    b integer,
    a integer DEFAULT 7
);
CREATE VIEW :"tenant_schema".looked AS
 SELECT base.a,
    base.b
   FROM :"tenant_schema".base
  WHERE (base.a > 0)
  WITH LOCAL CHECK OPTION;
CREATE TABLE :"tenant_schema".nothing_kept (
    a integer
);
ALTER TABLE ONLY :"tenant_schema".nothing_kept REPLICA IDENTITY NOTHING;
CREATE UNLOGGED TABLE :"tenant_schema".quick (
    a bigint NOT NULL,
    b integer GENERATED ALWAYS AS ((1 + 1)) STORED
);
ALTER TABLE :"tenant_schema".quick ALTER COLUMN a ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".odd_seq
    START WITH 1
    INCREMENT BY 7
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE :"tenant_schema".people OF :"tenant_schema".person (
    name NOT NULL
);
ALTER TABLE ONLY :"tenant_schema".tree ATTACH PARTITION :"tenant_schema".leaf FOR VALUES IN (1, 2);
SET check_function_bodies = off;
SET search_path = :"tenant_schema";
ALTER DOMAIN :"tenant_schema".positive
    ADD CONSTRAINT above CHECK ((VALUE > 0)) NOT VALID;
ALTER TABLE ONLY :"tenant_schema".base
    ADD CONSTRAINT base_b_key UNIQUE (b);
ALTER TABLE :"tenant_schema".base CLUSTER ON base_b_key;
ALTER TABLE ONLY :"tenant_schema".base
    ADD CONSTRAINT base_c_excl EXCLUDE USING btree (c WITH =);
ALTER TABLE ONLY :"tenant_schema".base
    ADD CONSTRAINT base_pkey PRIMARY KEY (a);
ALTER TABLE ONLY :"tenant_schema".base REPLICA IDENTITY USING INDEX base_pkey;
ALTER TABLE ONLY :"tenant_schema".people
    ADD CONSTRAINT people_pkey PRIMARY KEY (name);
CREATE INDEX kept_a ON :"tenant_schema".kept USING btree (a);
ALTER TABLE :"tenant_schema".kept CLUSTER ON kept_a;
ALTER INDEX :"tenant_schema".kept_a DEPENDS ON EXTENSION postgres_fdw;
CREATE UNIQUE INDEX tree_a ON ONLY :"tenant_schema".tree USING btree (a) INCLUDE (b);
CREATE UNIQUE INDEX leaf_a_b_idx ON :"tenant_schema".leaf USING btree (a) INCLUDE (b);
ALTER INDEX :"tenant_schema".tree_a ATTACH PARTITION :"tenant_schema".leaf_a_b_idx;
CREATE STATISTICS :"tenant_schema".odd ON (a + c), lower(b) FROM :"tenant_schema".base;
CREATE RULE never AS
    ON INSERT TO :"tenant_schema".base DO NOTHING;
ALTER TABLE :"tenant_schema".base DISABLE RULE never;
CREATE TRIGGER always BEFORE TRUNCATE ON :"tenant_schema".base FOR EACH STATEMENT EXECUTE FUNCTION :"tenant_schema".nop();
ALTER TRIGGER always ON :"tenant_schema".base DEPENDS ON EXTENSION postgres_fdw;
ALTER TABLE :"tenant_schema".base ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER instead INSTEAD OF INSERT ON :"tenant_schema".looked FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".nop();
CREATE TRIGGER "on" AFTER DELETE ON :"tenant_schema".base REFERENCING OLD TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION :"tenant_schema".nop('x');
CREATE TRIGGER replayed BEFORE UPDATE OF a, b ON :"tenant_schema".base FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".nop();
ALTER TABLE :"tenant_schema".base ENABLE REPLICA TRIGGER replayed;
ALTER TABLE :"tenant_schema".base ENABLE ROW LEVEL SECURITY;
REFRESH MATERIALIZED VIEW :"tenant_schema".kept;
GRANT ALL ON SCHEMA :"tenant_schema" TO PUBLIC;
REVOKE ALL ON TYPE :"tenant_schema".positive FROM PUBLIC;
REVOKE ALL ON TABLE :"tenant_schema".base FROM CURRENT_USER;
GRANT SELECT(a) ON TABLE :"tenant_schema".base TO PUBLIC;
GRANT SELECT(b),UPDATE(b) ON TABLE :"tenant_schema".base TO PUBLIC;
GRANT USAGE,UPDATE ON SEQUENCE :"tenant_schema"."dotted.name" TO PUBLIC;
GRANT SELECT ON TABLE :"tenant_schema".far TO PUBLIC;
-- needs extension "hstore"
SET check_function_bodies = off;
SET search_path = :"tenant_schema";
CREATE TYPE :"tenant_schema".mood AS ENUM (
    'sad',
    'it''s ok',
    'glück"lich',
    'tefc8205d_acme'
);
COMMENT ON TYPE :"tenant_schema".mood IS 'how one feels: tells of tefc8205d_acme';
CREATE TYPE :"tenant_schema".order_state AS ENUM (
    'open',
    'paid',
    'sent',
    'cancelled'
);
CREATE DOMAIN :"tenant_schema".percent AS numeric(5,2) NOT NULL DEFAULT 0
	CONSTRAINT percent_check CHECK (((VALUE >= (0)::numeric) AND (VALUE <= (100)::numeric)));
COMMENT ON DOMAIN :"tenant_schema".percent IS 'of a hundred';
CREATE TYPE :"tenant_schema".point3 AS (
	x double precision,
	y double precision,
	"Z z" numeric(10,2)
);
COMMENT ON COLUMN :"tenant_schema".point3.x IS 'across';
CREATE DOMAIN :"tenant_schema".short_text AS text COLLATE pg_catalog."C"
	CONSTRAINT short CHECK ((length(VALUE) < 1000));
COMMENT ON CONSTRAINT short ON DOMAIN :"tenant_schema".short_text IS 'not too long';
CREATE TYPE :"tenant_schema".span AS RANGE (
    subtype = numeric,
    multirange_type_name = :"tenant_schema".spans
);
CREATE TYPE :"tenant_schema".text AS (
	shadow text
);
CREATE TABLE :"tenant_schema".ids (
    id bigint NOT NULL,
    note text DEFAULT 'default of tefc8205d_acme'::text NOT NULL
);
COMMENT ON TABLE :"tenant_schema".ids IS 'numbers; it''s a "comment" with \ backslash and ü';
CREATE FUNCTION :"tenant_schema".atomic_count() RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT count(*) AS count
    FROM :"tenant_schema".ids;
END;
CREATE FUNCTION :"tenant_schema".counted() RETURNS bigint
    LANGUAGE sql
    SET search_path TO :'tenant_schema', 'ext'
    SET work_mem TO '8MB'
    AS $$ SELECT count(*) FROM ids $$;
CREATE FUNCTION :"tenant_schema".double(integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$SELECT $1 * 2$_$;
CREATE FUNCTION :"tenant_schema".keep_sent_orders() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF OLD.state = 'sent' AND NEW.state <> 'sent' THEN
        RAISE EXCEPTION 'order % was sent', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION :"tenant_schema".lower(text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $_$ SELECT 'mine: ' || $1 $_$;
CREATE PROCEDURE :"tenant_schema".nothing(INOUT a integer DEFAULT 1)
    LANGUAGE plpgsql
    AS $$ BEGIN a := a + 1; END $$;
CREATE FUNCTION :"tenant_schema".touch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN NEW.note := NEW.note || TG_ARGV[0]; RETURN NEW; END $$;
COMMENT ON FUNCTION :"tenant_schema".touch() IS 'adds something';
CREATE FUNCTION :"tenant_schema".where_am_i() RETURNS text
    LANGUAGE plpgsql
    AS '
DECLARE
    it pg_catalog.text := '''
:'tenant_schema'
'''; -- not tefc8205d_acme_more
    n int;
BEGIN
    SELECT count(*) INTO n FROM '
:'tenant_schema'
'.ids;
    PERFORM n FROM "'
:'tenant_schema'
'".ids WHERE note <> ''a \ b ''''quoted'''' $$dollars$$'';
    RETURN it;
END ';
CREATE TABLE :"tenant_schema".".hidden/../x" (
    a integer
);
CREATE TABLE :"tenant_schema"."Weird Name" (
    "select" integer NOT NULL,
    "quo""te" text,
    "dot.ted" text,
    "per%cent" integer DEFAULT 100,
    "new
line" text,
    "back\slash" text,
    "ap'o" text,
    CONSTRAINT "Weird Name_per%cent_check" CHECK ((("per%cent" % 2) = 0))
);
COMMENT ON COLUMN :"tenant_schema"."Weird Name"."dot.ted" IS '.';
CREATE SEQUENCE :"tenant_schema"."Weird Seq"
    START WITH -1
    INCREMENT BY -3
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE :"tenant_schema".animals (
    id integer,
    name text DEFAULT 'nobody'::text NOT NULL,
    CONSTRAINT animals_id_check CHECK ((id > 0))
);
CREATE TABLE :"tenant_schema".customers (
    id bigint NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE :"tenant_schema".customers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".customers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE :"tenant_schema".dogs (
    name text DEFAULT 'rex'::text,
    bark text
)
INHERITS (:"tenant_schema".animals);
CREATE TABLE :"tenant_schema".eggs (
    id integer NOT NULL,
    hen integer NOT NULL,
    mother integer
);
CREATE UNLOGGED TABLE :"tenant_schema".fleeting (
    a integer
)
WITH (fillfactor='50', autovacuum_enabled=off);
ALTER TABLE ONLY :"tenant_schema".fleeting REPLICA IDENTITY FULL;
CREATE SEQUENCE :"tenant_schema".free_numbers
    AS smallint
    START WITH 10
    INCREMENT BY 1
    MINVALUE 5
    MAXVALUE 9999
    CACHE 1
    CYCLE;
CREATE TABLE :"tenant_schema".goose_db_version (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);
ALTER TABLE :"tenant_schema".goose_db_version ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".goose_db_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE :"tenant_schema".hashed (
    m :"tenant_schema".mood NOT NULL,
    n integer
)
PARTITION BY HASH (m);
CREATE TABLE :"tenant_schema".hashed_0 (
    m :"tenant_schema".mood NOT NULL,
    n integer
);
CREATE TABLE :"tenant_schema".hashed_1 (
    m :"tenant_schema".mood NOT NULL,
    n integer
);
CREATE TABLE :"tenant_schema".hens (
    id integer NOT NULL,
    egg integer NOT NULL
);
ALTER TABLE :"tenant_schema".ids ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".ids_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE :"tenant_schema"."it's" (
    a integer,
    b integer
);
CREATE TABLE :"tenant_schema".kinds (
    id integer NOT NULL,
    a_bool boolean,
    a_small smallint,
    a_big bigint,
    a_num numeric,
    a_num2 numeric(20,6),
    a_real real,
    a_double double precision,
    a_money money,
    a_char character(5),
    a_varchar character varying(20) COLLATE pg_catalog."C",
    a_text text,
    a_bytea bytea,
    a_date date,
    a_time time without time zone,
    a_timetz time with time zone,
    a_stamp timestamp(3) without time zone,
    a_stamptz timestamp with time zone,
    an_interval interval,
    a_uuid uuid,
    a_json json,
    a_jsonb jsonb,
    an_inet inet,
    a_cidr cidr,
    a_mac macaddr,
    a_bit bit(4),
    a_varbit bit varying,
    a_tsvector tsvector,
    a_tsquery tsquery,
    a_xml xml,
    a_point point,
    a_box box,
    a_circle circle,
    an_int4range int4range,
    a_tstzrange tstzrange,
    a_nummultirange nummultirange,
    ints integer[],
    texts text[],
    an_oid oid,
    a_class regclass,
    a_mood :"tenant_schema".mood,
    moods :"tenant_schema".mood[],
    a_point3 :"tenant_schema".point3,
    points :"tenant_schema".point3[],
    a_span :"tenant_schema".span,
    some_spans :"tenant_schema".spans,
    a_percent :"tenant_schema".percent,
    a_short :"tenant_schema".short_text,
    percents :"tenant_schema".percent[],
    a_store ext.hstore,
    a_shadow text,
    a_row :"tenant_schema".ids,
    doubled integer GENERATED ALWAYS AS (:"tenant_schema".double(id)) STORED
);
ALTER TABLE ONLY :"tenant_schema".kinds ALTER COLUMN a_big SET STATISTICS 500;
ALTER TABLE ONLY :"tenant_schema".kinds ALTER COLUMN a_real SET (n_distinct=7);
ALTER TABLE ONLY :"tenant_schema".kinds ALTER COLUMN a_text SET STORAGE EXTERNAL;
ALTER TABLE ONLY :"tenant_schema".kinds ALTER COLUMN a_bytea SET COMPRESSION pglz;
ALTER TABLE :"tenant_schema".kinds ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".kinds_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE MATERIALIZED VIEW :"tenant_schema".later AS
 SELECT 1 AS one
  WITH NO DATA;
CREATE TABLE :"tenant_schema".measures (
    at date NOT NULL,
    place text NOT NULL,
    value integer
)
PARTITION BY RANGE (at);
CREATE TABLE :"tenant_schema".measures_2024 (
    at date NOT NULL,
    place text NOT NULL,
    value integer
)
PARTITION BY LIST (place);
CREATE TABLE :"tenant_schema".measures_2024_a (
    at date NOT NULL,
    place text NOT NULL,
    value integer
);
CREATE TABLE :"tenant_schema".measures_2024_b (
    at date NOT NULL,
    place text NOT NULL,
    value integer,
    CONSTRAINT small CHECK ((value < 100))
);
CREATE TABLE :"tenant_schema".measures_rest (
    at date NOT NULL,
    place text NOT NULL,
    value integer
);
CREATE TABLE :"tenant_schema".no_columns (
);
CREATE VIEW :"tenant_schema".numbers AS
 WITH RECURSIVE numbers(n) AS (
         VALUES (1)
        UNION ALL
         SELECT (numbers_1.n + 1)
           FROM numbers numbers_1
          WHERE (numbers_1.n < 3)
        )
 SELECT numbers.n
   FROM numbers;
CREATE VIEW :"tenant_schema".opened AS
 SELECT i.id,
    i.note,
    :"tenant_schema".lower(i.note) AS low
   FROM :"tenant_schema".ids i
  WHERE (i.note <> 'tefc8205d_acme'::text);
CREATE VIEW :"tenant_schema".on_opened WITH (security_barrier='true') AS
 SELECT o.id,
    o.low,
    '"'
:'tenant_schema'
'".ids'::regclass AS class
   FROM :"tenant_schema".opened o;
COMMENT ON VIEW :"tenant_schema".on_opened IS 'a view on a view';
CREATE MATERIALIZED VIEW :"tenant_schema".totals AS
 SELECT count(*) AS n,
    max(opened.id) AS m
   FROM :"tenant_schema".opened
  WITH NO DATA;
CREATE MATERIALIZED VIEW :"tenant_schema".on_totals AS
 SELECT (totals.n + 1) AS n
   FROM :"tenant_schema".totals
  WITH NO DATA;
CREATE TABLE :"tenant_schema".only_generated (
    a integer GENERATED ALWAYS AS (1) STORED
);
CREATE TABLE :"tenant_schema".order_lines (
    order_id bigint NOT NULL,
    "position" integer NOT NULL,
    product_id bigint NOT NULL,
    quantity integer NOT NULL,
    price_cents bigint NOT NULL,
    CONSTRAINT order_lines_price_cents_check CHECK ((price_cents >= 0)),
    CONSTRAINT order_lines_quantity_check CHECK ((quantity > 0))
);
CREATE VIEW :"tenant_schema".order_totals AS
SELECT
    NULL::bigint AS id,
    NULL::bigint AS customer_id,
    NULL:::"tenant_schema".order_state AS state,
    NULL::numeric AS total_cents;
CREATE TABLE :"tenant_schema".orders (
    id bigint NOT NULL,
    customer_id bigint NOT NULL,
    state :"tenant_schema".order_state DEFAULT 'open':::"tenant_schema".order_state NOT NULL,
    placed_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE :"tenant_schema".orders ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".orders_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE SEQUENCE :"tenant_schema".owned
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE :"tenant_schema".owned OWNED BY :"tenant_schema".ids.note;
CREATE TABLE :"tenant_schema".products (
    id bigint NOT NULL,
    sku text NOT NULL,
    name text NOT NULL,
    price_cents bigint NOT NULL,
    CONSTRAINT products_price_cents_check CHECK ((price_cents >= 0))
);
COMMENT ON COLUMN :"tenant_schema".products.price_cents IS 'in the smallest unit of the tenant''s currency';
ALTER TABLE :"tenant_schema".products ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME :"tenant_schema".products_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW :"tenant_schema".rows_of AS
 SELECT ids.*:::"tenant_schema".ids AS ids,
    ids.id
   FROM :"tenant_schema".ids;
CREATE TABLE :"tenant_schema"."select" (
    "from" integer,
    "user" text,
    n bigint DEFAULT nextval('"'
:'tenant_schema'
'".free_numbers'::regclass)
);
CREATE TABLE :"tenant_schema"."ü%41" (
    a integer NOT NULL
);
CREATE SEQUENCE :"tenant_schema"."ü%41_a_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE :"tenant_schema"."ü%41_a_seq" OWNED BY :"tenant_schema"."ü%41".a;
ALTER TABLE ONLY :"tenant_schema".hashed ATTACH PARTITION :"tenant_schema".hashed_0 FOR VALUES WITH (modulus 2, remainder 0);
ALTER TABLE ONLY :"tenant_schema".hashed ATTACH PARTITION :"tenant_schema".hashed_1 FOR VALUES WITH (modulus 2, remainder 1);
ALTER TABLE ONLY :"tenant_schema".measures ATTACH PARTITION :"tenant_schema".measures_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
ALTER TABLE ONLY :"tenant_schema".measures_2024 ATTACH PARTITION :"tenant_schema".measures_2024_a FOR VALUES IN ('a');
ALTER TABLE ONLY :"tenant_schema".measures_2024 ATTACH PARTITION :"tenant_schema".measures_2024_b FOR VALUES IN ('b', 'c');
ALTER TABLE ONLY :"tenant_schema".measures ATTACH PARTITION :"tenant_schema".measures_rest DEFAULT;
ALTER TABLE ONLY :"tenant_schema".on_opened ALTER COLUMN low SET DEFAULT 'x'::text;
ALTER TABLE ONLY :"tenant_schema"."ü%41" ALTER COLUMN a SET DEFAULT nextval('"'
:'tenant_schema'
'"."ü%41_a_seq"'::regclass);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."Weird Seq"', -1, true);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."customers_id_seq"', 1, false);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."free_numbers"', 4760, true);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."goose_db_version_id_seq"', 6, true);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."ids_id_seq"', 3, true);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."kinds_id_seq"', 1, false);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."orders_id_seq"', 1, false);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."owned"', 1, false);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."products_id_seq"', 1, false);
SELECT pg_catalog.setval('"'
:'tenant_schema'
'"."ü%41_a_seq"', 1, false);
SET check_function_bodies = off;
SET search_path = :"tenant_schema";
ALTER TABLE ONLY :"tenant_schema"."Weird Name"
    ADD CONSTRAINT "Weird Name_pkey" PRIMARY KEY ("select");
ALTER TABLE ONLY :"tenant_schema".customers
    ADD CONSTRAINT customers_email_key UNIQUE (email);
ALTER TABLE ONLY :"tenant_schema".customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".eggs
    ADD CONSTRAINT eggs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".goose_db_version
    ADD CONSTRAINT goose_db_version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".hens
    ADD CONSTRAINT hens_egg_key UNIQUE (egg) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY :"tenant_schema".hens
    ADD CONSTRAINT hens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".ids
    ADD CONSTRAINT ids_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema"."it's"
    ADD CONSTRAINT "it's_a_excl" EXCLUDE USING btree (a WITH =);
ALTER TABLE ONLY :"tenant_schema".kinds
    ADD CONSTRAINT kinds_pkey PRIMARY KEY (id);
ALTER TABLE :"tenant_schema".kinds
    ADD CONSTRAINT late CHECK ((id > 1)) NOT VALID;
ALTER TABLE ONLY :"tenant_schema".measures
    ADD CONSTRAINT measures_pkey PRIMARY KEY (at, place);
ALTER TABLE ONLY :"tenant_schema".measures_2024
    ADD CONSTRAINT measures_2024_pkey PRIMARY KEY (at, place);
ALTER TABLE ONLY :"tenant_schema".measures_2024_a
    ADD CONSTRAINT measures_2024_a_pkey PRIMARY KEY (at, place);
ALTER TABLE ONLY :"tenant_schema".measures_2024_b
    ADD CONSTRAINT measures_2024_b_pkey PRIMARY KEY (at, place);
ALTER TABLE ONLY :"tenant_schema".measures_rest
    ADD CONSTRAINT measures_rest_pkey PRIMARY KEY (at, place);
ALTER TABLE ONLY :"tenant_schema".order_lines
    ADD CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, "position");
ALTER TABLE ONLY :"tenant_schema".orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".products
    ADD CONSTRAINT products_pkey PRIMARY KEY (id);
ALTER TABLE ONLY :"tenant_schema".products
    ADD CONSTRAINT products_sku_key UNIQUE (sku);
ALTER TABLE ONLY :"tenant_schema"."select"
    ADD CONSTRAINT select_from_key UNIQUE ("from");
CREATE INDEX "Weird ""Index""" ON :"tenant_schema"."Weird Name" USING btree ((("quo""te" || 'x'::text)) DESC NULLS LAST) INCLUDE ("dot.ted") WHERE ("per%cent" > 0);
CREATE INDEX ids_note ON :"tenant_schema".ids USING btree (note);
ALTER TABLE :"tenant_schema".ids CLUSTER ON ids_note;
CREATE INDEX measures_value ON ONLY :"tenant_schema".measures USING btree (value);
CREATE INDEX measures_2024_value_idx ON ONLY :"tenant_schema".measures_2024 USING btree (value);
CREATE INDEX measures_2024_a_value_idx ON :"tenant_schema".measures_2024_a USING btree (value);
CREATE INDEX measures_2024_b_value_idx ON :"tenant_schema".measures_2024_b USING btree (value);
CREATE INDEX measures_rest_value_idx ON :"tenant_schema".measures_rest USING btree (value);
CREATE INDEX order_lines_product ON :"tenant_schema".order_lines USING btree (product_id);
CREATE INDEX orders_customer ON :"tenant_schema".orders USING btree (customer_id, placed_at);
CREATE INDEX orders_open ON :"tenant_schema".orders USING btree (placed_at) WHERE (state = 'open':::"tenant_schema".order_state);
CREATE INDEX shadowed ON :"tenant_schema".ids USING btree (lower(note));
ALTER INDEX :"tenant_schema".shadowed ALTER COLUMN 1 SET STATISTICS 77;
COMMENT ON INDEX :"tenant_schema".shadowed IS 'by my own function';
CREATE UNIQUE INDEX totals_n ON :"tenant_schema".totals USING btree (n);
ALTER INDEX :"tenant_schema".measures_2024_pkey ATTACH PARTITION :"tenant_schema".measures_2024_a_pkey;
ALTER INDEX :"tenant_schema".measures_2024_value_idx ATTACH PARTITION :"tenant_schema".measures_2024_a_value_idx;
ALTER INDEX :"tenant_schema".measures_2024_pkey ATTACH PARTITION :"tenant_schema".measures_2024_b_pkey;
ALTER INDEX :"tenant_schema".measures_2024_value_idx ATTACH PARTITION :"tenant_schema".measures_2024_b_value_idx;
ALTER INDEX :"tenant_schema".measures_pkey ATTACH PARTITION :"tenant_schema".measures_2024_pkey;
ALTER INDEX :"tenant_schema".measures_value ATTACH PARTITION :"tenant_schema".measures_2024_value_idx;
ALTER INDEX :"tenant_schema".measures_pkey ATTACH PARTITION :"tenant_schema".measures_rest_pkey;
ALTER INDEX :"tenant_schema".measures_value ATTACH PARTITION :"tenant_schema".measures_rest_value_idx;
CREATE STATISTICS :"tenant_schema".kinds_related (ndistinct, dependencies) ON a_small, a_big FROM :"tenant_schema".kinds;
ALTER STATISTICS :"tenant_schema".kinds_related SET STATISTICS 300;
COMMENT ON STATISTICS :"tenant_schema".kinds_related IS 'they go together';
CREATE OR REPLACE VIEW :"tenant_schema".order_totals AS
 SELECT o.id,
    o.customer_id,
    o.state,
    COALESCE(sum((l.quantity * l.price_cents)), (0)::numeric) AS total_cents
   FROM (:"tenant_schema".orders o
     LEFT JOIN :"tenant_schema".order_lines l ON ((l.order_id = o.id)))
  GROUP BY o.id;
CREATE RULE ignored AS
    ON DELETE TO :"tenant_schema".kinds
   WHERE (old.id = 1) DO INSTEAD ( INSERT INTO :"tenant_schema".ids (note)
  VALUES ('kept'::text);
 SELECT 1 AS "?column?";
);
COMMENT ON RULE ignored ON :"tenant_schema".kinds IS 'never';
CREATE TRIGGER idle BEFORE INSERT ON :"tenant_schema".ids FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".touch('?');
ALTER TABLE :"tenant_schema".ids DISABLE TRIGGER idle;
CREATE TRIGGER keep_sent_orders BEFORE UPDATE ON :"tenant_schema".orders FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".keep_sent_orders();
CREATE CONSTRAINT TRIGGER kept AFTER INSERT ON :"tenant_schema".hens DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".touch('c');
CREATE TRIGGER parted AFTER INSERT ON :"tenant_schema".measures FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".touch('p');
CREATE TRIGGER touched BEFORE UPDATE OF note ON :"tenant_schema".ids FOR EACH ROW WHEN ((old.note IS DISTINCT FROM new.note)) EXECUTE FUNCTION :"tenant_schema".touch('!');
COMMENT ON TRIGGER touched ON :"tenant_schema".ids IS 'on change';
ALTER TABLE ONLY :"tenant_schema".eggs
    ADD CONSTRAINT eggs_hen_fkey FOREIGN KEY (hen) REFERENCES :"tenant_schema".hens(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY :"tenant_schema".eggs
    ADD CONSTRAINT eggs_mother_fkey FOREIGN KEY (mother) REFERENCES :"tenant_schema".eggs(id);
ALTER TABLE ONLY :"tenant_schema".hens
    ADD CONSTRAINT hen_egg FOREIGN KEY (egg) REFERENCES :"tenant_schema".eggs(id) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT hen_egg ON :"tenant_schema".hens IS 'which came first';
ALTER TABLE ONLY :"tenant_schema".order_lines
    ADD CONSTRAINT order_lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES :"tenant_schema".orders(id) ON DELETE CASCADE;
ALTER TABLE ONLY :"tenant_schema".order_lines
    ADD CONSTRAINT order_lines_product_id_fkey FOREIGN KEY (product_id) REFERENCES :"tenant_schema".products(id);
ALTER TABLE ONLY :"tenant_schema".orders
    ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES :"tenant_schema".customers(id);
ALTER TABLE :"tenant_schema".eggs ENABLE ROW LEVEL SECURITY;
CREATE POLICY limits ON :"tenant_schema".eggs AS RESTRICTIVE FOR UPDATE TO CURRENT_USER, reader USING (true) WITH CHECK ((id < 10));
CREATE POLICY own ON :"tenant_schema".eggs FOR SELECT TO :"tenant_role" USING ((hen IN ( SELECT h.id
   FROM :"tenant_schema".hens h)));
COMMENT ON POLICY own ON :"tenant_schema".eggs IS 'only own';
REFRESH MATERIALIZED VIEW :"tenant_schema".totals;
REFRESH MATERIALIZED VIEW :"tenant_schema".on_totals;
GRANT USAGE ON SCHEMA :"tenant_schema" TO :"tenant_role";
GRANT USAGE ON SCHEMA :"tenant_schema" TO reader;
GRANT ALL ON TYPE :"tenant_schema".mood TO :"tenant_role";
REVOKE ALL ON TYPE :"tenant_schema".order_state FROM PUBLIC;
GRANT ALL ON TYPE :"tenant_schema".order_state TO :"tenant_role";
GRANT ALL ON TYPE :"tenant_schema".percent TO :"tenant_role";
GRANT ALL ON TYPE :"tenant_schema".point3 TO :"tenant_role";
GRANT ALL ON TYPE :"tenant_schema".short_text TO :"tenant_role";
GRANT ALL ON TYPE :"tenant_schema".span TO :"tenant_role";
GRANT ALL ON TYPE :"tenant_schema".text TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".ids TO :"tenant_role";
GRANT SELECT ON TABLE :"tenant_schema".ids TO reader;
GRANT SELECT(id) ON TABLE :"tenant_schema".ids TO reader WITH GRANT OPTION;
GRANT UPDATE(note) ON TABLE :"tenant_schema".ids TO reader WITH GRANT OPTION;
GRANT ALL ON FUNCTION :"tenant_schema".atomic_count() TO :"tenant_role";
GRANT ALL ON FUNCTION :"tenant_schema".counted() TO :"tenant_role";
GRANT ALL ON FUNCTION :"tenant_schema".double(integer) TO :"tenant_role";
REVOKE ALL ON FUNCTION :"tenant_schema".keep_sent_orders() FROM PUBLIC;
GRANT ALL ON FUNCTION :"tenant_schema".keep_sent_orders() TO :"tenant_role";
GRANT ALL ON FUNCTION :"tenant_schema".lower(text) TO :"tenant_role";
GRANT ALL ON PROCEDURE :"tenant_schema".nothing(INOUT a integer) TO :"tenant_role";
REVOKE ALL ON FUNCTION :"tenant_schema".touch() FROM PUBLIC;
GRANT ALL ON FUNCTION :"tenant_schema".touch() TO :"tenant_role";
GRANT ALL ON FUNCTION :"tenant_schema".where_am_i() TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".".hidden/../x" TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema"."Weird Name" TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema"."Weird Seq" TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".animals TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".customers TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".customers_id_seq TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".dogs TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".eggs TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".fleeting TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".free_numbers TO :"tenant_role";
GRANT SELECT ON TABLE :"tenant_schema".goose_db_version TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".hashed TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".hashed_0 TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".hashed_1 TO :"tenant_role";
GRANT SELECT,DELETE,UPDATE ON TABLE :"tenant_schema".hens TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".ids_id_seq TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema"."it's" TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".kinds TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".kinds_id_seq TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".later TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".measures TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".measures_2024 TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".measures_2024_a TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".measures_2024_b TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".measures_rest TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".no_columns TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".numbers TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".opened TO :"tenant_role";
GRANT SELECT ON TABLE :"tenant_schema".opened TO PUBLIC;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".on_opened TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".totals TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".on_totals TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".only_generated TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".order_lines TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".order_totals TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".orders TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".orders_id_seq TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".owned TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".products TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema".products_id_seq TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema".rows_of TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema"."select" TO :"tenant_role";
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE :"tenant_schema"."ü%41" TO :"tenant_role";
GRANT ALL ON SEQUENCE :"tenant_schema"."ü%41_a_seq" TO :"tenant_role";
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA :"tenant_schema" GRANT ALL ON SEQUENCES  TO :"tenant_role";
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA :"tenant_schema" GRANT ALL ON TYPES  TO :"tenant_role";
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA :"tenant_schema" GRANT ALL ON FUNCTIONS  TO :"tenant_role";
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA :"tenant_schema" GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES  TO :"tenant_role";
ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_USER IN SCHEMA :"tenant_schema" GRANT SELECT ON TABLES  TO reader;
