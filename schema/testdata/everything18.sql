-- What PostgreSQL 17 and 18 have more.
CREATE TABLE newest (a int CONSTRAINT newest_named NOT NULL, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int, note text);
ALTER TABLE newest ADD CONSTRAINT newest_later NOT NULL note NOT VALID;
ALTER TABLE newest ADD CONSTRAINT newest_unchecked CHECK (c > 0) NOT ENFORCED;
GRANT MAINTAIN ON newest TO "@reader@";
INSERT INTO newest (a, c, note) VALUES (1, 2, 'x'), (2, 3, 'y');
CREATE TABLE stays (id int4range, during tsrange, CONSTRAINT stays_key PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE stays_of (id int4range, during tsrange, CONSTRAINT stays_of_stays FOREIGN KEY (id, PERIOD during) REFERENCES stays);
CREATE TABLE once (x int NOT NULL);
ALTER TABLE once RENAME TO renamed;
CREATE TABLE loose (x int CONSTRAINT loose_x NOT NULL NO INHERIT);
