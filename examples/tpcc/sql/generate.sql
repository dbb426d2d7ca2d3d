-- The initial rows (specification 5.11, clause 4.3.3), for `warehouses` warehouses.
-- The same `seed` (0 to 1) and `moment` give the same rows.

SET max_parallel_workers_per_gather = 0;
SET synchronous_commit = off;
SELECT setseed(:seed) \gset ignored_

-- A random whole number from `low` to `high`, both included.
CREATE FUNCTION pg_temp.number(low integer, high integer) RETURNS integer LANGUAGE sql VOLATILE
    RETURN low + floor(random() * (high - low + 1))::integer;

-- `length` (43 at most) random letters and digits.
CREATE FUNCTION pg_temp.letters(length integer) RETURNS text LANGUAGE sql VOLATILE
    RETURN left(translate(encode(sha256(random()::text::bytea), 'base64'), '+/=', 'Aa0'), length);

-- `length` random digits, 15 at most.
CREATE FUNCTION pg_temp.digits(length integer) RETURNS text LANGUAGE sql VOLATILE
    RETURN right((1000000000000000 + floor(random() * 1000000000000000))::bigint::text, length);

-- 26 to 50 random characters, of which one in ten holds ORIGINAL somewhere.
CREATE FUNCTION pg_temp.data() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    text text := pg_temp.letters(26) || pg_temp.letters(pg_temp.number(0, 24));
BEGIN
    IF random() < 0.1 THEN
        RETURN overlay(text PLACING 'ORIGINAL' FROM pg_temp.number(1, length(text) - 7));
    END IF;
    RETURN text;
END $$;

-- The non-uniform choice of clause 2.1.6, with the constant 0.
CREATE FUNCTION pg_temp.nurand(mask integer, low integer, high integer) RETURNS integer LANGUAGE sql VOLATILE
    RETURN (pg_temp.number(0, mask) | pg_temp.number(low, high)) % (high - low + 1) + low;

-- Three syllables for three digits (clause 4.3.2.3).
CREATE FUNCTION pg_temp.last_name(number integer) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number / 100 + 1]
        || (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number / 10 % 10 + 1]
        || (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number % 10 + 1];

INSERT INTO item
SELECT i, pg_temp.number(1, 10000), pg_temp.letters(pg_temp.number(14, 24)), pg_temp.number(100, 10000) / 100.0, pg_temp.data()
FROM generate_series(1, 100000) i;

INSERT INTO warehouse
SELECT w, pg_temp.letters(pg_temp.number(6, 10)), pg_temp.letters(pg_temp.number(10, 20)), pg_temp.letters(pg_temp.number(10, 20)),
    pg_temp.letters(pg_temp.number(10, 20)), upper(pg_temp.letters(2)), pg_temp.digits(4) || '11111', pg_temp.number(0, 2000) / 10000.0, 300000
FROM generate_series(1, :warehouses) w;

INSERT INTO stock
SELECT i, w, pg_temp.number(10, 100),
    pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24),
    pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24), pg_temp.letters(24),
    0, 0, 0, pg_temp.data()
FROM generate_series(1, :warehouses) w, generate_series(1, 100000) i;

INSERT INTO district
SELECT d, w, pg_temp.letters(pg_temp.number(6, 10)), pg_temp.letters(pg_temp.number(10, 20)), pg_temp.letters(pg_temp.number(10, 20)),
    pg_temp.letters(pg_temp.number(10, 20)), upper(pg_temp.letters(2)), pg_temp.digits(4) || '11111', pg_temp.number(0, 2000) / 10000.0, 30000, 3001
FROM generate_series(1, :warehouses) w, generate_series(1, 10) d;

INSERT INTO customer
SELECT c, d, w, pg_temp.letters(pg_temp.number(8, 16)), 'OE',
    pg_temp.last_name(CASE WHEN c <= 1000 THEN c - 1 ELSE pg_temp.nurand(255, 0, 999) END),
    pg_temp.letters(pg_temp.number(10, 20)), pg_temp.letters(pg_temp.number(10, 20)), pg_temp.letters(pg_temp.number(10, 20)),
    upper(pg_temp.letters(2)), pg_temp.digits(4) || '11111', pg_temp.digits(8) || pg_temp.digits(8), :'moment',
    CASE WHEN random() < 0.1 THEN 'BC' ELSE 'GC' END, 50000, pg_temp.number(0, 5000) / 10000.0, -10, 10, 1, 0,
    left(pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43)
        || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43) || pg_temp.letters(43),
        pg_temp.number(300, 500))
FROM generate_series(1, :warehouses) w, generate_series(1, 10) d, generate_series(1, 3000) c;

INSERT INTO history
SELECT c_id, c_d_id, c_w_id, c_d_id, c_w_id, :'moment', 10, pg_temp.letters(pg_temp.number(12, 24))
FROM customer;

-- Orders go to the customers of a district in a random order; the last 900 of a district wait for delivery.
INSERT INTO orders
SELECT row_number() OVER (PARTITION BY c_w_id, c_d_id ORDER BY random()), c_d_id, c_w_id, c_id, :'moment',
    pg_temp.number(1, 10), pg_temp.number(5, 15), 1
FROM customer;
UPDATE orders SET o_carrier_id = NULL WHERE o_id > 2100;

INSERT INTO new_order
SELECT o_id, o_d_id, o_w_id FROM orders WHERE o_id > 2100;

INSERT INTO order_line
SELECT o_id, o_d_id, o_w_id, number, pg_temp.number(1, 100000), o_w_id,
    CASE WHEN o_id <= 2100 THEN o_entry_d END, 5,
    CASE WHEN o_id <= 2100 THEN 0 ELSE pg_temp.number(1, 999999) / 100.0 END, pg_temp.letters(24)
FROM orders, generate_series(1, o_ol_cnt::integer) number;
