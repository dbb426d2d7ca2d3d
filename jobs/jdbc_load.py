"""Reads one table of Postgres over JDBC, under a snapshot that the worker holds open, and writes it as Parquet: run by spark-submit.

The worker settles what is read (`--reading`, a JSON file) and checks what was written; a load exists only when the worker has
written its manifest. The secret goes to the driver only.
"""

import argparse
import json
import subprocess
import urllib.parse
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

ROWS_AT_ONCE = "10000"
# A file of more is split: whoever reads it can divide the work.
FILE_ROWS_MAX = 5_000_000
# A column in the form in which JDBC carries it exactly, and what it becomes.
BECOMES = {
    "itself": "{}",
    "date": "date_from_unix_date({})",
    "timestamp": "cast(timestamp_micros({}) AS timestamp_ntz)",
    "timestamp_utc": "timestamp_micros({})",
}


def arguments():
    parser = argparse.ArgumentParser()
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--secret", help="name in Secrets Manager")
    secret.add_argument("--secret-file")
    parser.add_argument("--region")
    parser.add_argument("--reading", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--trx-seq", required=True)
    return parser.parse_args()


def secret(arguments):
    if arguments.secret_file:
        return json.loads(Path(arguments.secret_file).read_text())
    # Every machine of EMR has the AWS CLI, and not every one has boto3.
    command = ["aws", "secretsmanager", "get-secret-value", "--region", arguments.region, "--secret-id", arguments.secret]
    told = subprocess.run([*command, "--query", "SecretString", "--output", "text"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(told.stdout)


def connection(secret):
    database = urllib.parse.quote(secret["dbname"], safe="")
    return {
        "url": f"jdbc:postgresql://{secret['host']}:{secret['port']}/{database}",
        "user": secret["username"],
        "password": secret["password"],
        "driver": "org.postgresql.Driver",
        "ApplicationName": "headwater",
        "tcpKeepAlive": "true",
    }


def read(spark, reading, connection):
    options = {"fetchsize": ROWS_AT_ONCE} | reading["options"] | connection
    # Without it Spark leaves the connection in autocommit mode, where no snapshot can be set.
    if options["fetchsize"] == "0":
        options["fetchsize"] = ROWS_AT_ONCE
    options["sessionInitStatement"] = reading["session"]
    relation, predicates = reading["relation"], reading["predicates"]
    if predicates:
        return spark.read.jdbc(options.pop("url"), relation, predicates=predicates, properties=options)
    return spark.read.format("jdbc").options(dbtable=relation, **options).load()


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


def laid_out(spark, frame, reading, trx_seq):
    """The columns of a load: the table's own between ours, all of which may be NULL."""
    own = [F.expr(BECOMES[column["as"]].format(quoted(column["from"]))).alias(column["name"]) for column in reading["columns"]]
    frame = frame.select(F.lit("I").alias("Op"), *own, F.lit(trx_seq).alias("trx_seq"), F.lit(False).alias("_hoodie_is_deleted"))
    nullable = StructType([StructField(field.name, field.dataType, True) for field in frame.schema])
    return spark.createDataFrame([], nullable).union(frame)


def main():
    asked = arguments()
    reading = json.loads(Path(asked.reading).read_text())
    spark = SparkSession.builder.getOrCreate()
    # Columns `a` and `A` are two.
    spark.conf.set("spark.sql.caseSensitive", "true")
    frame = read(spark, reading, connection(secret(asked)))
    frame = laid_out(spark, frame, reading, asked.trx_seq)
    frame.write.mode("append").option("maxRecordsPerFile", FILE_ROWS_MAX).parquet(asked.output)
    spark.stop()


if __name__ == "__main__":
    main()
