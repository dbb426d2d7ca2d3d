\set warehouse random(1, :warehouses)
\set district random(1, 10)
CALL tpcc_payment(:warehouse, :district, :warehouses);
