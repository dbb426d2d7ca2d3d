"""Hudi tables written in turns by the native engine and by Spark, read by both and by the Python package: run by scripts/interop.

  interop.py WORK_FOLDER JARS_FOLDER NATIVE_PROGRAM

Every reader must give, row by row, what the model here says. Spark writes with the options of the plans of `seed_hudi` and `incremental_hudi`.
"""

import contextlib
import datetime as dt
import decimal
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Before the load, the load's T0, and a moment of each batch.
EPOCH = "20261124" + "0" * 27
COLUMNS = pa.schema(
    [
        ("Op", pa.string()),
        ("w_id", pa.int32()),
        ("id", pa.int64()),
        ("region", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("note", pa.string()),
        ("active", pa.bool_()),
        ("ratio", pa.float64()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("raw", pa.binary()),
        ("trx_seq", pa.string()),
        ("_hoodie_is_deleted", pa.bool_()),
    ]
)
SPARK_TYPES = {
    "Op": "string", "w_id": "int", "id": "bigint", "region": "string", "amount": "decimal(12,2)", "note": "string", "active": "boolean", "ratio": "double",
    "day": "date", "at": "timestamp", "seen": "timestamp", "raw": "binary", "trx_seq": "string", "_hoodie_is_deleted": "boolean",
}  # fmt: skip
# Name, key, partition: one for each key generator.
SHAPES = [("plain", ("w_id", "id"), None), ("split", ("id",), "region"), ("orders", ("w_id", "id"), "w_id")]
# Made by the native engine without rows, and first written by Spark.
EMPTY = ("empty", ("id",), "region")
REGIONS = ["north", "south", "west"]
SEED_ROWS = 300
# For quickness with few rows: Hudi would start hundreds of tasks.
SMALL = {
    f"hoodie.{what}.parallelism": "1"
    for what in ("bulkinsert.shuffle", "insert.shuffle", "upsert.shuffle", "delete.shuffle", "simple.index", "global.simple.index", "finalize.write", "markers.delete")
}
failures = []
seconds = {}


def say(text):
    print(f"interop: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what):
    began = time.monotonic()
    yield
    seconds[what] = seconds.get(what, 0) + time.monotonic() - began


def sequence(moment, number=0):
    return f"{int(EPOCH) + moment * 10**10 + number:035d}"


class Model:
    """What a table must hold after each batch, by its key."""

    def __init__(self, key):
        self.key = key
        self.rows = {}
        self.deleted = []
        self.random = random.Random(7)
        self.next_id = 1

    def key_of(self, row):
        return tuple(row[column] for column in self.key)

    def row(self, op, moment, number, **values):
        pick = self.random
        row = {
            "Op": op,
            "region": pick.choice(REGIONS),
            "amount": decimal.Decimal(pick.randrange(-(10**12) + 1, 10**12)).scaleb(-2),
            "note": pick.choice(["", "plain", "ünïcödé ☃", "a,b:c/d=e%20", "line\nbreak", "x" * 3000]),
            "active": pick.random() < 0.5,
            "ratio": pick.choice([0.1, -1e300, 5e-324, math.inf, math.nan, pick.random()]),
            "day": dt.date(1970, 1, 1) + dt.timedelta(days=pick.randrange(-160_000, 40_000)),
            "at": dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=pick.randrange(-(10**16), 10**16)),
            "seen": dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(microseconds=pick.randrange(-(10**16), 10**16)),
            "raw": pick.randbytes(pick.randrange(20)),
            "trx_seq": sequence(moment, number),
            "_hoodie_is_deleted": False,
        }
        for column in ("amount", "note", "active", "ratio", "day", "at", "seen", "raw"):
            if pick.random() < 0.1:
                row[column] = None
        row.update(values)
        return row

    def fresh(self):
        self.next_id += 1
        return {"w_id": self.next_id % 4, "id": self.next_id}

    def delete(self, key, moment, number):
        """Carries the key alone."""
        row = dict.fromkeys(COLUMNS.names)
        return row | dict(zip(self.key, key)) | {"Op": "D", "trx_seq": sequence(moment, number), "_hoodie_is_deleted": True}

    def seed(self):
        """All with the number of the load."""
        rows = [self.row("I", 1, 0, **self.fresh()) for _ in range(SEED_ROWS)]
        self.apply(rows)
        return rows

    def inserts(self, moment):
        rows = [self.row("I", moment, number, **self.fresh()) for number in range(SEED_ROWS)]
        self.apply(rows)
        return rows

    def batch(self, moment, stale_deletes):
        pick, changes = self.random, []
        keys = pick.sample(sorted(self.rows), 80)
        number = iter(range(1, 10_000))

        def same(key):
            """The columns that an update of this row does not change."""
            row = self.rows[key]
            return {"w_id": row["w_id"], "id": row["id"], "region": row["region"]}

        for key in keys[:30]:  # newer, in the same partition
            changes.append(self.row("U", moment, next(number), **same(key)))
        for key in keys[30:40]:  # newer, perhaps in another partition
            changes.append(self.row("U", moment, next(number), **same(key) | {"region": pick.choice(REGIONS)}))
        for key in keys[40:50]:  # stale, perhaps in another partition
            changes.append(self.row("U", 0, next(number), **same(key) | {"region": pick.choice(REGIONS)}))
        for key in keys[50:60]:
            changes.append(self.delete(key, moment, next(number)))
        for key in keys[60 : 60 + stale_deletes]:
            changes.append(self.delete(key, 0, next(number)))
        for key in keys[65:70]:  # two changes of one row, the newer one first in the file
            older = self.row("U", moment, next(number), **same(key))
            changes += [self.row("U", moment, next(number), **same(key)), older]
        for key in keys[70:75]:  # deleted, then inserted again
            place = same(key)
            changes.append(self.delete(key, moment, next(number)))
            changes.append(self.row("I", moment, next(number), **place))
        for _ in range(20):
            changes.append(self.row("I", moment, next(number), **self.fresh()))
        for _ in range(3):  # inserted, then deleted
            row = self.row("I", moment, next(number), **self.fresh())
            changes += [row, self.delete(self.key_of(row), moment, next(number))]
        for place in self.deleted[:3]:  # inserted again, deleted by an earlier batch
            changes.append(self.row("I", moment, next(number), **place))
        self.deleted = [same(key) for key in keys[50:60]]
        self.apply(changes)
        return changes

    def apply(self, changes):
        for change in sorted(changes, key=lambda change: change["trx_seq"]):
            key = self.key_of(change)
            stored = self.rows.get(key)
            if stored and stored["trx_seq"] > change["trx_seq"]:
                continue
            if change["_hoodie_is_deleted"]:
                self.rows.pop(key, None)
            else:
                self.rows[key] = change


class Table:
    def __init__(self, home, seeder, shape):
        name, self.key, self.partition = shape
        self.name = f"{seeder}_{name}"
        self.seeder = seeder
        self.model = Model(self.key)
        self.home = home
        self.step = f"public.{self.name}"
        self.folder = home / f"lake/silver/ground/ground_public_{self.name}/g=1"
        self.commits = 0

    def item(self):
        config = {"primary_key": ",".join(self.key), "watermark": "trx_seq", "is_partitioned": self.partition is not None}
        if self.partition:
            config["partition_path"] = self.partition
        return {"identifier": "ground", "config": f"step::system::{self.step}", "enabled": True, "hudi_config": config}

    def file(self, rows, name):
        path = self.home / f"files/{self.name}/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, COLUMNS), path)
        return path


def items(tables):
    size = {"release_label": "emr-7.13.0", "master": {"instance_type": "m7g.xlarge"}, "worker": {"instance_type": "m7g.xlarge", "count": 1}}
    database = {"identifier": "ground", "config": "database::config", "secret": "ground", "target_db_name": "ground", "target_table_prefix": "ground"}
    pipelines = [{"identifier": "ground", "config": f"pipeline::system::{name}", "emr_config": size} for name in ("seed_hudi", "incremental_hudi")]
    return [database, *pipelines, *(table.item() for table in tables)]


class Native:
    """The worker's own functions."""

    name = "native"
    stale_deletes = 5

    def __init__(self, program, home):
        self.program = program
        self.home = home

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"interop: error: hudi_ground {' '.join(map(str, arguments))}\n{done.stderr}")
        return done.stdout

    def plan(self, pipeline, engine):
        path = self.home / f"plan-{pipeline}-{engine}.json"
        path.write_text(self.run("plan", self.home, self.home / "items.json", pipeline, engine))
        return path

    def seed(self, table, file):
        self.run("seed", self.home / "plan-seed_hudi-native.json", table.step, file, table.folder)

    def merge(self, table, file):
        self.run("merge", file, table.folder)

    def rows(self, table):
        return len(self.read(table))

    def read(self, table):
        path = self.home / f"files/{table.name}/read.parquet"
        self.run("read", table.folder, path)
        return pq.read_table(path).to_pylist()


def settings(plan, step):
    """What a plan's argument list says: settings of Spark, flags and options of Hudi."""
    planned = next(planned for planned in json.loads(plan.read_text())["steps"] if planned["name"] == step)
    arguments = planned["work"]["spark_submit"]["arguments"]
    conf, options, flags = {}, {}, {}
    for flag, value in zip(arguments, arguments[1:]):
        if flag in ("--conf", "--hoodie-conf"):
            name, _, value = value.partition("=")
            (conf if flag == "--conf" else options)[name] = value
        elif flag.startswith("--") and not value.startswith("--"):
            flags[flag] = value
    return conf, options, flags


class Spark:
    """Spark's writer, with the options of the plans; the streamer's own options name where it reads, and stay out."""

    name = "spark"
    # Spark's merger would carry them out: the worker's query does not bring them.
    stale_deletes = 5

    def __init__(self, jars, plans, step, native):
        from pyspark.sql import SparkSession

        conf, _, flags = settings(plans["seed_hudi"], step)
        builder = SparkSession.builder.master("local[1]").appName("interop")
        for name, value in conf.items():
            builder = builder.config(name, value)
        here = {
            "spark.default.parallelism": "1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.sql.shuffle.partitions": "1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        for name, value in here.items():
            builder = builder.config(name, value)
        jar = jars / Path(flags["--jars"]).name
        self.session = builder.config("spark.jars", str(jar)).getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")
        self.plans = plans
        self.native = native

    def write(self, table, rows, pipeline):
        _, options, flags = settings(self.plans[pipeline], table.step)
        options = {name: value for name, value in options.items() if not name.startswith("hoodie.streamer.source")}
        options |= {
            "hoodie.table.name": flags["--target-table"],
            "hoodie.datasource.write.table.type": flags["--table-type"],
            "hoodie.datasource.write.operation": flags["--op"].lower(),
        } | SMALL
        assert flags["--source-ordering-field"] == options["hoodie.datasource.write.precombine.field"]
        rows.write.format("hudi").options(**options).mode("append").save(str(table.folder))

    def seed(self, table, file):
        self.write(table, self.session.read.parquet(str(file)), "seed_hudi")

    def merge(self, table, file):
        """By the worker's query, cut into statements as the streamer cuts it. Of partitioned tables it looks at the stored rows."""
        plan = self.plans["incremental_hudi"]
        old = [sequence(0), "stored"] if table.partition else [sequence(1)]
        for statement in self.native.run("query", plan, table.step, table.folder, file, *old).split(";"):
            if statement.strip():
                rows = self.session.sql(statement.strip())
        before = self.native.rows(table)
        self.write(table, rows, "incremental_hudi")
        inserted, updated, deleted, after = json.loads(self.native.run("written", table.folder))
        # Of a row that moves to another partition Hudi does not always count the insert.
        if table.partition in (None, *table.key) and before + inserted - deleted != after:
            differ(table, "spark", f"{before} rows, {inserted} inserted, {updated} updated, {deleted} deleted, {after} rows then")

    def read(self, table):
        self.session.catalog.clearCache()
        frame = self.session.read.format("hudi").load(str(table.folder))
        types = {name: kind for name, kind in frame.dtypes if not name.startswith("_hoodie_") or name == "_hoodie_is_deleted"}
        if types != SPARK_TYPES:
            differ(table, "spark", f"types: {sorted(set(types.items()) ^ set(SPARK_TYPES.items()))}")
        return [row.asDict() for row in frame.collect()]


class Package:
    """The Python package `hudi`."""

    name = "python"

    def read(self, table):
        from hudi import HudiTableBuilder

        batches = HudiTableBuilder.from_base_uri(str(table.folder)).build().read()
        return pa.Table.from_batches(batches).to_pylist() if batches else []


def differ(table, reader, text):
    failures.append(f"{table.name}: {reader}: {text}")
    say(f"DIFFERENT: {failures[-1]}")


def plain(value):
    """A value as text, the same from every reader."""
    if isinstance(value, bytearray):
        value = bytes(value)
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=None)
    return repr(value)


def expected(table, row):
    """Hudi's own columns of a row: the key as the key generators write it, and the partition."""
    if len(table.key) == 1:
        key = str(row[table.key[0]])
    else:
        key = ",".join(f"{column}:{row[column]}" for column in table.key)
    path = f"{table.partition}={row[table.partition]}" if table.partition else ""
    return {"_hoodie_record_key": key, "_hoodie_partition_path": path}


def compare(table, reader, rows):
    wanted = {}
    for row in table.model.rows.values():
        own = expected(table, row)
        wanted[own["_hoodie_record_key"]] = own | row
    found = {}
    for row in rows:
        key = row["_hoodie_record_key"]
        if key in found:
            differ(table, reader, f"row {key} is there twice")
        found[key] = row
    for key in sorted(wanted.keys() ^ found.keys())[:5]:
        differ(table, reader, f"row {key} is {'missing' if key in wanted else 'too many'}")
    for key in wanted.keys() & found.keys():
        for column, value in wanted[key].items():
            if plain(value) != plain(found[key].get(column)):
                differ(table, reader, f"row {key}, column {column}: {plain(found[key].get(column))} instead of {plain(value)}")
    return len(found)


def properties(table):
    lines = (table.folder / ".hoodie/hoodie.properties").read_text().splitlines()
    return dict(line.replace("\\:", ":").split("=", 1) for line in lines if line and not line.startswith("#"))


def timeline(table):
    """Every action of the timeline is complete, and there is one for every write."""
    names = [path.name for path in (table.folder / ".hoodie/timeline").iterdir() if path.is_file() and not path.name.startswith(".")]
    complete = sorted(name for name in names if "_" in name)
    begun = {name.split(".")[0] for name in names if "_" not in name}
    if len(complete) != table.commits or begun != {name.split("_")[0] for name in complete}:
        differ(table, "timeline", f"{table.commits} writes, but {sorted(names)}")
    if any(not name.endswith(".commit") for name in complete):
        differ(table, "timeline", f"not only commits: {complete}")


# Of the table itself, or written down by one engine only and without effect on the other.
OWN_PROPERTIES = {
    "hoodie.compaction.payload.class",
    "hoodie.table.checksum",
    "hoodie.table.create.schema",
    "hoodie.table.metadata.partitions.inflight",
    "hoodie.table.name",
    "hoodie.table.ordering.fields",
}


def compare_properties(native, spark):
    """Both engines must make the same table."""
    ours, theirs = properties(native), properties(spark)
    for name in sorted((ours.keys() | theirs.keys()) - OWN_PROPERTIES):
        if ours.get(name, "") != theirs.get(name, ""):
            differ(native, "hoodie.properties", f"{name} is {ours.get(name)!r}, and {theirs.get(name)!r} from Spark")


def main():
    home, jars, program = map(Path, sys.argv[1:])
    tables = [Table(home, seeder, shape) for seeder in ("native", "spark") for shape in SHAPES]
    empty = Table(home, "native", EMPTY)
    home.mkdir(parents=True, exist_ok=True)
    (home / "items.json").write_text(json.dumps(items([*tables, empty])))
    native = Native(program, home)
    native.plan("seed_hudi", "native")
    with timed("spark starts"):
        spark = Spark(jars, {pipeline: native.plan(pipeline, "spark") for pipeline in ("seed_hudi", "incremental_hudi")}, tables[0].step, native)
    say(f"Spark {spark.session.version}")
    readers = [native, spark, Package()]

    def read(what, table):
        counts = []
        for reader in readers:
            with timed(f"{reader.name} reads"):
                counts.append(compare(table, reader.name, reader.read(table)))
        timeline(table)
        say(f"{what}: {table.name}: rows by reader {counts}, expected {len(table.model.rows)}")

    def turn(what, write):
        for table in tables:
            write(table)
            table.commits += 1
            read(what, table)

    def begin_empty():
        native.seed(empty, empty.file([], "seed"))
        read("seed without rows", empty)
        for moment, writer in [(2, spark), (3, native)]:
            rows = empty.model.inserts(moment) if moment == 2 else empty.model.batch(moment, writer.stale_deletes)
            writer.merge(empty, empty.file(rows, f"changes-{moment}"))
            empty.commits += 1
            read(f"merge by {writer.name}", empty)

    def seed(table):
        writer = native if table.seeder == "native" else spark
        file = table.file(table.model.seed(), "seed")
        with timed(f"{writer.name} seeds"):
            writer.seed(table, file)

    def merge(writer, moment):
        def write(table):
            file = table.file(table.model.batch(moment, writer.stale_deletes), f"changes-{moment}")
            with timed(f"{writer.name} merges"):
                writer.merge(table, file)

        return write

    begin_empty()
    turn("seed", seed)
    for ours, theirs in zip(tables, tables[len(SHAPES) :]):
        compare_properties(ours, theirs)
    for moment, writer in enumerate([native, spark, native, spark], start=2):
        turn(f"merge {moment - 1} by {writer.name}", merge(writer, moment))
    for what, spent in sorted(seconds.items()):
        say(f"{what}: {spent:.1f} s")
    spark.session.stop()
    if failures:
        sys.exit(f"interop: error: {len(failures)} differences, the first: {failures[0]}")
    rows = sum(len(table.model.rows) for table in [*tables, empty])
    print(f"interop: ok: {len(tables)} tables with 5 writes in turns, one that began empty, {rows} rows at the end, equal by {len(readers)} readers after every write")


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    main()
