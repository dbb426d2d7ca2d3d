-- The three writing transactions of TPC-C (specification 5.11, clauses 2.4, 2.5 and 2.7): inserts, updates and deletes.
-- Order-Status and Stock-Level only read and leave no changes, so they are not here.
-- Procedures, not functions: the roll-back that New-Order wants must not look like a failed client.

CREATE FUNCTION tpcc_number(low integer, high integer) RETURNS integer LANGUAGE sql VOLATILE
    RETURN low + floor(random() * (high - low + 1))::integer;

-- The non-uniform choice of clause 2.1.6.
CREATE FUNCTION tpcc_nurand(mask integer, low integer, high integer) RETURNS integer LANGUAGE sql VOLATILE
    RETURN ((tpcc_number(0, mask) | tpcc_number(low, high)) + mask / 3) % (high - low + 1) + low;

CREATE FUNCTION tpcc_last_name(number integer) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number / 100 + 1]
        || (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number / 10 % 10 + 1]
        || (ARRAY['BAR', 'OUGHT', 'ABLE', 'PRI', 'PRES', 'ESE', 'ANTI', 'CALLY', 'ATION', 'EING'])[number % 10 + 1];

-- Another warehouse than `home` where there is one.
CREATE FUNCTION tpcc_other_warehouse(home integer, warehouses integer) RETURNS integer LANGUAGE sql VOLATILE
    RETURN CASE WHEN warehouses = 1 THEN home ELSE (home + tpcc_number(0, warehouses - 2)) % warehouses + 1 END;

-- New-Order: 5 to 15 lines; one in a hundred names an item that does not exist and is rolled back.
CREATE PROCEDURE tpcc_new_order(warehouse_id integer, district_id integer, warehouses integer) LANGUAGE plpgsql AS $$
DECLARE
    customer_id integer := tpcc_nurand(1023, 1, 3000);
    line_count integer := tpcc_number(5, 15);
    unknown_item boolean := tpcc_number(1, 100) = 1;
    order_id integer;
    all_local integer := 1;
    line record;
    price numeric;
    stock_row record;
    district_info text;
BEGIN
    UPDATE district SET d_next_o_id = d_next_o_id + 1
    WHERE d_w_id = warehouse_id AND d_id = district_id
    RETURNING d_next_o_id - 1 INTO order_id;

    INSERT INTO orders (o_id, o_d_id, o_w_id, o_c_id, o_entry_d, o_carrier_id, o_ol_cnt, o_all_local)
    VALUES (order_id, district_id, warehouse_id, customer_id, clock_timestamp(), NULL, line_count, 1);
    INSERT INTO new_order (no_o_id, no_d_id, no_w_id) VALUES (order_id, district_id, warehouse_id);

    -- Two orders lock their stock rows in the same order, so that they never wait for each other in a circle.
    FOR line IN
        SELECT row_number() OVER (ORDER BY supply, item_id)::integer AS number, *
        FROM (
            SELECT tpcc_nurand(8191, 1, 100000) AS item_id,
                CASE WHEN tpcc_number(1, 100) = 1 THEN tpcc_other_warehouse(warehouse_id, warehouses) ELSE warehouse_id END AS supply,
                tpcc_number(1, 10) AS quantity
            FROM generate_series(1, line_count)
        ) lines
        ORDER BY 1
    LOOP
        SELECT i_price INTO price FROM item
        WHERE i_id = CASE WHEN unknown_item AND line.number = line_count THEN 0 ELSE line.item_id END;
        IF NOT FOUND THEN
            ROLLBACK;
            RETURN;
        END IF;
        UPDATE stock SET
            s_quantity = CASE WHEN s_quantity >= line.quantity + 10 THEN s_quantity - line.quantity ELSE s_quantity - line.quantity + 91 END,
            s_ytd = s_ytd + line.quantity,
            s_order_cnt = s_order_cnt + 1,
            s_remote_cnt = s_remote_cnt + CASE WHEN line.supply = warehouse_id THEN 0 ELSE 1 END
        WHERE s_w_id = line.supply AND s_i_id = line.item_id
        RETURNING * INTO stock_row;
        district_info := (ARRAY[stock_row.s_dist_01, stock_row.s_dist_02, stock_row.s_dist_03, stock_row.s_dist_04, stock_row.s_dist_05,
            stock_row.s_dist_06, stock_row.s_dist_07, stock_row.s_dist_08, stock_row.s_dist_09, stock_row.s_dist_10])[district_id];
        INSERT INTO order_line
            (ol_o_id, ol_d_id, ol_w_id, ol_number, ol_i_id, ol_supply_w_id, ol_delivery_d, ol_quantity, ol_amount, ol_dist_info)
        VALUES (order_id, district_id, warehouse_id, line.number, line.item_id, line.supply, NULL, line.quantity, line.quantity * price, district_info);
        IF line.supply <> warehouse_id THEN
            all_local := 0;
        END IF;
    END LOOP;
    IF all_local = 0 THEN
        UPDATE orders SET o_all_local = 0 WHERE o_w_id = warehouse_id AND o_d_id = district_id AND o_id = order_id;
    END IF;
END $$;

-- Payment: by a customer of this warehouse in 85 of 100, by name in 60 of 100.
CREATE PROCEDURE tpcc_payment(warehouse_id integer, district_id integer, warehouses integer) LANGUAGE plpgsql AS $$
DECLARE
    amount numeric := tpcc_number(100, 500000) / 100.0;
    remote boolean := warehouses > 1 AND tpcc_number(1, 100) > 85;
    customer_warehouse integer := CASE WHEN remote THEN tpcc_other_warehouse(warehouse_id, warehouses) ELSE warehouse_id END;
    customer_district integer := CASE WHEN remote THEN tpcc_number(1, 10) ELSE district_id END;
    customer_id integer;
    name text;
    warehouse_name text;
    district_name text;
BEGIN
    IF tpcc_number(1, 100) <= 60 THEN
        name := tpcc_last_name(tpcc_nurand(255, 0, 999));
        -- The one in the middle, by first name, rounded up.
        SELECT c_id INTO customer_id
        FROM (
            SELECT c_id, row_number() OVER (ORDER BY c_first) AS place, count(*) OVER () AS matches
            FROM customer WHERE c_w_id = customer_warehouse AND c_d_id = customer_district AND c_last = name
        ) customers
        WHERE place = (matches + 1) / 2;
    END IF;
    IF customer_id IS NULL THEN
        customer_id := tpcc_nurand(1023, 1, 3000);
    END IF;

    UPDATE warehouse SET w_ytd = w_ytd + amount WHERE w_id = warehouse_id RETURNING w_name INTO warehouse_name;
    UPDATE district SET d_ytd = d_ytd + amount WHERE d_w_id = warehouse_id AND d_id = district_id RETURNING d_name INTO district_name;
    UPDATE customer SET
        c_balance = c_balance - amount,
        c_ytd_payment = c_ytd_payment + amount,
        c_payment_cnt = c_payment_cnt + 1,
        c_data = CASE WHEN c_credit = 'BC'
            THEN left(concat_ws(' ', c_id, c_d_id, c_w_id, district_id, warehouse_id, amount) || c_data, 500)
            ELSE c_data END
    WHERE c_w_id = customer_warehouse AND c_d_id = customer_district AND c_id = customer_id;
    INSERT INTO history (h_c_id, h_c_d_id, h_c_w_id, h_d_id, h_w_id, h_date, h_amount, h_data)
    VALUES (customer_id, customer_district, customer_warehouse, district_id, warehouse_id, clock_timestamp(), amount,
        warehouse_name || '    ' || district_name);
END $$;

-- Delivery: the oldest new order of each district; one that another delivery holds is passed over.
CREATE PROCEDURE tpcc_delivery(warehouse_id integer) LANGUAGE plpgsql AS $$
DECLARE
    carrier integer := tpcc_number(1, 10);
    order_id integer;
    customer_id integer;
    total numeric;
BEGIN
    FOR district_id IN 1..10 LOOP
        DELETE FROM new_order
        WHERE no_w_id = warehouse_id AND no_d_id = district_id AND no_o_id = (
            SELECT no_o_id FROM new_order WHERE no_w_id = warehouse_id AND no_d_id = district_id
            ORDER BY no_o_id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING no_o_id INTO order_id;
        CONTINUE WHEN order_id IS NULL;

        UPDATE orders SET o_carrier_id = carrier
        WHERE o_w_id = warehouse_id AND o_d_id = district_id AND o_id = order_id
        RETURNING o_c_id INTO customer_id;
        WITH delivered AS (
            UPDATE order_line SET ol_delivery_d = clock_timestamp()
            WHERE ol_w_id = warehouse_id AND ol_d_id = district_id AND ol_o_id = order_id
            RETURNING ol_amount
        )
        SELECT sum(ol_amount) INTO total FROM delivered;
        UPDATE customer SET c_balance = c_balance + total, c_delivery_cnt = c_delivery_cnt + 1
        WHERE c_w_id = warehouse_id AND c_d_id = district_id AND c_id = customer_id;
    END LOOP;
END $$;
