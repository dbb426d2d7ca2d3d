#!/usr/bin/env python3
"""Revenue by day and district: reads two silver tables and writes one gold Parquet file.

A step of a custom pipeline. Headwater gives it HEADWATER_SILVER_URI, HEADWATER_GOLD_URI, HEADWATER_RUN_ID and
HEADWATER_COMPLETE_THROUGH; the packages it needs are in scripts/requirements.txt.
"""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from hudi import HudiReadOptions, HudiTableBuilder
except ImportError as error:
    sys.exit(f"error: {error}\nhint: run scripts/setup and put .tools/venv/bin first in PATH")


def main():
    arguments = parse_arguments()
    silver = folder("HEADWATER_SILVER_URI")
    gold = folder("HEADWATER_GOLD_URI")
    orders = read(silver / arguments.orders, ["o_w_id", "o_d_id", "o_id", "o_entry_d"])
    lines = read(silver / arguments.order_line, ["ol_w_id", "ol_d_id", "ol_o_id", "ol_amount"])
    target = gold / arguments.output / "revenue.parquet"
    table = revenue(orders, lines).replace_schema_metadata(origin())
    write(table, target)
    print(f"revenue of {orders.num_rows} orders and {lines.num_rows} lines: {table.num_rows} rows in {target}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="Revenue by day and district, from silver to gold.")
    parser.add_argument("--orders", default="tpcc_public_orders", help="silver table of the orders")
    parser.add_argument("--order-line", default="tpcc_public_order_line", help="silver table of the order lines")
    parser.add_argument("--output", default="revenue_daily", help="folder below the gold zone")
    return parser.parse_args()


def folder(variable):
    uri = os.environ.get(variable, "")
    if not uri.startswith("file:///"):
        sys.exit(f"error: `{variable}` is not a file:/// URI: {uri!r}\nhint: start this job by `headwater run`")
    return Path(uri.removeprefix("file://"))


def read(table, columns):
    """The columns of the published generation of a silver table."""
    pointer = table / "_published.json"
    try:
        generation = json.loads(pointer.read_text())["generation"]
    except FileNotFoundError:
        sys.exit(f"error: silver table `{table.name}` is not published: no {pointer}\nhint: seed it first")
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: pointer of silver table `{table.name}` cannot be read: {pointer}: {error!r}")
    try:
        hudi = HudiTableBuilder.from_base_uri(str(table / generation)).build()
        batches = list(hudi.read_stream(HudiReadOptions(projection=columns)))
    except Exception as error:  # the library's errors share no other base
        sys.exit(f"error: silver table `{table.name}` cannot be read: {table / generation}: {error}")
    if not batches:
        sys.exit(f"error: silver table `{table.name}` has no rows")
    return pa.Table.from_batches(batches)


def revenue(orders, lines):
    """Lines and amount by day (UTC) and district; a line whose order has not arrived yet is left out."""
    day = pc.cast(pc.floor_temporal(orders["o_entry_d"], unit="day"), pa.timestamp("us", tz="UTC")).cast(pa.date32())
    orders = orders.drop_columns("o_entry_d").append_column("day", day)
    amount = lines["ol_amount"].cast(pa.decimal128(18, 2))
    lines = lines.drop_columns("ol_amount").append_column("amount", amount)
    joined = lines.join(orders, keys=["ol_w_id", "ol_d_id", "ol_o_id"], right_keys=["o_w_id", "o_d_id", "o_id"], join_type="inner")
    grouped = joined.group_by(["day", "ol_w_id", "ol_d_id"]).aggregate([("amount", "count"), ("amount", "sum")])
    return (
        grouped.rename_columns({"ol_w_id": "warehouse", "ol_d_id": "district", "amount_count": "lines", "amount_sum": "revenue"})
        .sort_by([("day", "ascending"), ("warehouse", "ascending"), ("district", "ascending")])
    )


def origin():
    return {
        "headwater.run_id": os.environ.get("HEADWATER_RUN_ID", ""),
        "headwater.complete_through": os.environ.get("HEADWATER_COMPLETE_THROUGH", ""),
    }


def write(table, target):
    """The file appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        pq.write_table(table, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
