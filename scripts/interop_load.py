"""Tables of Postgres loaded by the native engine and by jobs/jdbc_load.py with Spark, which must leave the same rows: run by scripts/interop.

  interop_load.py WORK_FOLDER JDBC_DRIVER NATIVE_PROGRAM PORT PASSWORD_FILE

The program runs both loads as the worker does. Rows are compared as a bag, each value in its Parquet type.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
# Every type of docs/data-types.md, with the ends of its range.
TYPES = (ROOT / "crates/worker/src/load/tests/types.sql").read_text()
OTHERS = r'''
CREATE TABLE empty (id int PRIMARY KEY, note text);
CREATE TABLE "Odd names" ("a" int, "A" text, "b.c`d" date, "ümlaut ""q""" numeric(5,2));
INSERT INTO "Odd names" VALUES (1, 'x', '2026-11-24', 1.5), (2, E'\b\f\n', NULL, NULL);
CREATE TABLE texts (id int, a text[]);
INSERT INTO texts VALUES (1, ARRAY[E'\b', E'\\b', E'\b\b\f', E'\x1f "q" \\', NULL, 'é']);
CREATE TABLE large (id bigint PRIMARY KEY, note text, at timestamptz);
INSERT INTO large SELECT n, repeat('x', 200), timestamptz '2026-01-01' + n * interval '1 second' FROM generate_series(1, 60000) AS n;
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (900000);
INSERT INTO parts SELECT n, date '2026-01-01' + n % 7 FROM generate_series(1, 700000) AS n;
CREATE VIEW seen AS SELECT id, a FROM texts;
ANALYZE
'''
TABLES = ["t", "empty", "Odd names", "texts", "large", "parts", "seen"]
# What only Spark takes: its rows are those of this view.
QUERIES = {"seen": {"query": "SELECT id, a FROM texts"}}


def say(text):
    print(f"interop: {text}", file=sys.stderr, flush=True)


def psql(port, password, sql):
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), key=lambda path: int(path.parts[-3]))
    program = str(folders[-1]) if folders else "psql"
    environment = os.environ | {"PGPASSWORD": password}
    command = [program, "-h", "127.0.0.1", "-p", port, "-U", "headwater", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1"]
    subprocess.run(command, input=sql, text=True, check=True, env=environment, stdout=subprocess.DEVNULL)


def items():
    size = {"release_label": "emr-7.13.0", "master": {"instance_type": "m7g.xlarge"}, "worker": {"instance_type": "m7g.xlarge", "count": 1}}
    database = {"identifier": "ground", "config": "database::config", "secret": "ground", "target_db_name": "ground", "target_table_prefix": "ground"}
    pipeline = {"identifier": "ground", "config": "pipeline::system::jdbc_load", "emr_config": size}
    steps = [{"identifier": "ground", "config": f"step::system::public.{table}", "enabled": True} for table in TABLES]
    return [database, pipeline, *steps]


class Loads:
    def __init__(self, home, program, path):
        self.home, self.program, self.path = home, program, path

    def run(self, *arguments):
        environment = os.environ | {"PATH": self.path, "PYSPARK_PYTHON": sys.executable}
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"interop: error: hudi_ground {' '.join(map(str, arguments))}\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        return done.stdout

    def plan(self, engine, options):
        found = items()
        for item in found:
            if engine == "spark" and (chosen := options.get(item["config"].removeprefix("step::system::public."))):
                item["spark_jdbc_config"] = chosen
        file, plan = self.home / f"items-{engine}.json", self.home / f"plan-{engine}.json"
        file.write_text(json.dumps(found))
        plan.write_text(self.run("plan", self.home, file, "jdbc_load", engine))
        return plan

    def load(self, plan, table, run):
        report = json.loads(self.run("load", plan, self.home, f"public.{table}", run))
        folder = self.home / f"lake/bronze/ground/full/ground/public/{table}/run={run}"
        manifest = json.loads((folder / "_manifest.json").read_text())
        files = [pq.read_table(folder / file["name"], partitioning=None) for file in manifest["files"]]
        return report, manifest, pa.concat_tables(files).drop_columns(["trx_seq"])


def plain(table):
    """Rows as text, where dates and moments are numbers: Python has not all of them."""
    columns = []
    for field, column in zip(table.schema, table.columns):
        if pa.types.is_date32(field.type):
            column = column.cast(pa.int32())
        elif pa.types.is_timestamp(field.type):
            column = column.cast(pa.int64())
        columns.append(column.to_pylist())
    return sorted(repr(row) for row in zip(*columns))


def main():
    home, driver, program, port, password = sys.argv[1:]
    home, password = Path(home), Path(password).read_text().strip()
    for folder in ("secrets", "jobs", "jars"):
        (home / folder).mkdir(parents=True)
    shutil.copy(ROOT / "jobs/jdbc_load.py", home / "jobs/jdbc_load.py")
    shutil.copy(driver, home / "jars/postgresql.jar")
    secret = {"username": "headwater", "password": password, "engine": "postgres", "host": "127.0.0.1", "port": int(port), "dbname": "postgres"}
    file = home / "secrets/ground.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(secret))
    psql(port, password, TYPES + OTHERS)

    loads = Loads(home, program, f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    native, spark = loads.plan("native", {}), loads.plan("spark", QUERIES)
    rows = 0
    for table in TABLES:
        ours, manifest, expected = loads.load(native, table, "native")
        theirs, spark_manifest, found = loads.load(spark, table, "spark")
        if found.schema.remove_metadata() != expected.schema.remove_metadata():
            sys.exit(f"interop: error: {table}: columns {found.schema} instead of {expected.schema}")
        for name in expected.column_names:
            wanted, got = plain(expected.select([name])), plain(found.select([name]))
            if wanted != got:
                differing = next(((w, g) for w, g in zip(wanted, got) if w != g), (len(wanted), len(got)))
                kind = next((c["postgres_type"] for c in manifest["columns"] if c["name"] == name), "")
                sys.exit(f"interop: error: {table}: column {name} ({kind}): {differing[1]} instead of {differing[0]}")
        if plain(expected) != plain(found):
            sys.exit(f"interop: error: {table}: the rows differ")
        if (ours["rows"], ours["nulled"]) != (theirs["rows"], theirs["nulled"]):
            sys.exit(f"interop: error: {table}: {theirs} instead of {ours}")
        if manifest["columns"] != spark_manifest["columns"]:
            sys.exit(f"interop: error: {table}: the manifests name other columns")
        pieces = sum(file["rows"] > 0 for file in spark_manifest["files"])
        say(f"load: {table}: {found.num_rows} rows and {found.num_columns} columns equal, by Spark in {pieces} pieces")
        rows += found.num_rows
    print(f"interop: ok: {len(TABLES)} tables loaded by both engines, {rows} rows, equal in every type")


if __name__ == "__main__":
    main()
