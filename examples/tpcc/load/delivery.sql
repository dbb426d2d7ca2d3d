\set warehouse random(1, :warehouses)
CALL tpcc_delivery(:warehouse);
