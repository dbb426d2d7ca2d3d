//! Steps of the Spark engine: complete argument lists of spark-submit, for Spark 3.5 and Hudi 1.0.2.

use crate::config::script::ScriptStep;
use crate::config::table::{HudiConfig, ORDERING_COLUMN, TableStep};
use crate::deployment::Artifact;
use crate::hudi_options::{TABLE_VERSION, key_generator, table_type};
use crate::native::{LOAD_CONNECTIONS, LOAD_CONNECTIONS_MAX, one_table, resolve};
use crate::path::TableName;
use crate::plan::{
    JdbcLoad, Load, Partitioning, PipelineKind, StepWork, TableWork, Target, WriteOperation,
};
use crate::planning::Scope;
use std::collections::BTreeMap;

const STREAMER: &str = "org.apache.hudi.utilities.streamer.HoodieStreamer";
const GLUE_SYNC: &str = "org.apache.hudi.aws.sync.AwsGlueCatalogSyncTool";
/// Reads a folder; the seed's is one load, which never changes.
const FOLDER_SOURCE: &str = "org.apache.hudi.utilities.sources.ParquetDFSSource";
/// Runs a query from a file: the worker names the change files in it.
const QUERY_SOURCE: &str = "org.apache.hudi.utilities.sources.SqlFileBasedSource";

/// Settings of every Spark step, which configuration may not change.
const CONF: [(&str, &str); 8] = [
    ("spark.driver.extraJavaOptions", "-Duser.timezone=UTC"),
    ("spark.executor.extraJavaOptions", "-Duser.timezone=UTC"),
    // Ancient dates in files that Spark did not write would fail the step; ours are Gregorian throughout.
    ("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED"),
    ("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED"),
    // Hudi 1.0.2 has no timestamp without zone: both engines keep one as if it were UTC.
    ("spark.sql.parquet.inferTimestampNTZ.enabled", "false"),
    ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),
    ("spark.sql.session.timeZone", "UTC"),
    (
        "spark.serializer",
        "org.apache.spark.serializer.KryoSerializer",
    ),
];

/// Of steps that bring Hudi's code.
const HUDI_CONF: [(&str, &str); 1] = [(
    "spark.kryo.registrator",
    "org.apache.spark.HoodieSparkKryoRegistrar",
)];

/// Where Spark finds its code: EMR brings Hudi, a laptop has it in `<home>/jars`.
struct Runtime {
    master: &'static [&'static str],
    hudi: Vec<String>,
    streamer: String,
    jdbc_driver: String,
    jdbc_load: String,
}

fn runtime(scope: &Scope) -> Runtime {
    // A plan that needs one that is missing is refused.
    let uri = |artifact: &Option<Artifact>| {
        artifact
            .as_ref()
            .map_or(String::new(), |artifact| artifact.uri.clone())
    };
    match &scope.deployment.aws {
        Some(aws) => Runtime {
            master: &["--master", "yarn", "--deploy-mode", "client"],
            hudi: vec![
                "/usr/lib/hudi/hudi-spark-bundle.jar".to_owned(),
                "/usr/lib/hudi/hudi-aws-bundle.jar".to_owned(),
            ],
            streamer: "/usr/lib/hudi/hudi-utilities-bundle.jar".to_owned(),
            jdbc_driver: uri(&aws.artifacts.jdbc_driver),
            jdbc_load: uri(&aws.artifacts.jdbc_load),
        },
        None => {
            let jobs = scope.deployment.jobs.trim_end_matches('/');
            let home = jobs.strip_suffix("/jobs").unwrap_or(jobs);
            let jar = |name: &str| format!("{home}/jars/{name}");
            Runtime {
                master: &["--master", "local[*]"],
                hudi: vec![jar("hudi-spark3.5-bundle_2.12-1.0.2.jar")],
                streamer: jar("hudi-utilities-slim-bundle_2.12-1.0.2.jar"),
                jdbc_driver: jar("postgresql.jar"),
                jdbc_load: format!("{jobs}/jdbc_load.py"),
            }
        }
    }
}

/// `spark-submit` up to its settings. Later settings of the same name win in Spark, so configured ones come first.
fn submit(
    scope: &Scope,
    runtime: &Runtime,
    name: &str,
    own: &[(&'static str, &'static str)],
    conf: Option<&BTreeMap<String, String>>,
) -> Vec<String> {
    let mut arguments = vec!["spark-submit".to_owned()];
    arguments.extend(runtime.master.iter().map(|part| (*part).to_owned()));
    let title = format!(
        "headwater {} {} {name}",
        scope.request.identifier, scope.name
    );
    arguments.extend(["--name".to_owned(), title]);
    let mut settings: BTreeMap<&str, &str> = CONF.into_iter().chain(own.iter().copied()).collect();
    // `spark.serializer` is the one setting of ours that may be chosen otherwise.
    for (name, value) in conf.into_iter().flatten() {
        settings.insert(name, value);
    }
    for (name, value) in settings {
        arguments.extend(["--conf".to_owned(), format!("{name}={value}")]);
    }
    arguments
}

fn conf_of<'a>(scope: &Scope, step: &'a TableStep) -> Option<&'a BTreeMap<String, String>> {
    step.spark_conf.get(scope.name.as_str())
}

/// A full load over JDBC by our PySpark program.
pub fn load(
    scope: &Scope,
    name: &str,
    table: &TableName,
    step: &TableStep,
    loads: &str,
) -> StepWork {
    let runtime = runtime(scope);
    let mut arguments = submit(scope, &runtime, name, &[], conf_of(scope, step));
    arguments.extend([
        "--jars".to_owned(),
        runtime.jdbc_driver.clone(),
        runtime.jdbc_load.clone(),
    ]);
    let mut flag = |flag: &str, value: &str| arguments.extend([flag.to_owned(), value.to_owned()]);
    match &scope.deployment.aws {
        Some(aws) => {
            flag("--secret", &scope.database.secret);
            flag("--region", &aws.region);
        }
        None => flag("--secret-file", "{secret_file}"),
    }
    flag("--reading", "{reading}");
    flag("--output", &format!("{loads}/run={{run_id}}"));
    flag("--trx-seq", "{t0}");
    StepWork::SparkSubmit {
        arguments,
        table: None,
        load: Some(jdbc_load(scope, table, step, loads)),
    }
}

/// What is loaded: the step's own table, another that `dbtable` names, or a query.
fn jdbc_load(scope: &Scope, table: &TableName, step: &TableStep, loads: &str) -> JdbcLoad {
    let mut options: BTreeMap<String, String> = step
        .spark_jdbc_config
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    let query = options
        .remove("query")
        .map(|query| format!("({query}) AS queried"));
    let dbtable = options.remove("dbtable");
    let named = dbtable
        .as_deref()
        .and_then(|text| one_table(text, &table.schema));
    let relation = match named {
        Some(_) => None,
        None => dbtable.or(query),
    };
    let wanted = options.remove("numpartitions");
    let wanted = wanted.and_then(|text| text.parse().ok());
    JdbcLoad {
        load: Load {
            source: named.unwrap_or_else(|| table.clone()),
            loads: loads.to_owned(),
            parallelism: wanted
                .unwrap_or(LOAD_CONNECTIONS)
                .clamp(1, LOAD_CONNECTIONS_MAX),
            changes_follow: scope.config.changes_follow() && step.hudi.is_some(),
        },
        relation,
        options,
    }
}

/// A seed, or a batch of changes, by the Hudi streamer.
pub fn table(
    scope: &Scope,
    name: &str,
    step: &TableStep,
    hudi: &HudiConfig,
    work: TableWork,
    notes: &mut Vec<String>,
) -> StepWork {
    let runtime = runtime(scope);
    let seeds = !scope.name.kind().change_driven();
    let mut arguments = submit(scope, &runtime, name, &HUDI_CONF, conf_of(scope, step));
    arguments.extend(["--jars".to_owned(), runtime.hudi.join(",")]);
    arguments.extend([
        "--class".to_owned(),
        STREAMER.to_owned(),
        runtime.streamer.clone(),
    ]);
    let mut flag = |flag: &str, value: &str| arguments.extend([flag.to_owned(), value.to_owned()]);
    let generation = if seeds { "g={run_id}" } else { "{generation}" };
    flag(
        "--target-base-path",
        &format!("{}/{generation}", work.silver),
    );
    flag("--target-table", &work.target_table);
    flag("--table-type", table_type(hudi.table_type));
    flag("--op", operation(seeds, hudi.operation));
    flag("--source-ordering-field", ORDERING_COLUMN);
    flag(
        "--source-class",
        if seeds { FOLDER_SOURCE } else { QUERY_SOURCE },
    );
    if let Some(transformer) = &hudi.transformer {
        flag("--transformer-class", &transformer.class);
    }
    if !seeds {
        arguments.push("--allow-commit-on-no-checkpoint-change".to_owned());
    }
    // A seed is checked after the streamer has ended: until then the catalogue must not show it.
    if scope.deployment.target == Target::Aws && !seeds {
        arguments.push("--enable-sync".to_owned());
        arguments.extend(["--sync-tool-classes".to_owned(), GLUE_SYNC.to_owned()]);
    }
    for (option, value) in streamer_options(scope, hudi, &work, seeds) {
        arguments.extend(["--hoodie-conf".to_owned(), format!("{option}={value}")]);
    }
    if scope.name.kind() == PipelineKind::ContinuousHudi {
        notes.push(
            "one batch of change files at a time, repeated until the run is cancelled".to_owned(),
        );
    }
    if !seeds && hudi.operation != WriteOperation::Upsert {
        notes.push(format!(
            "`hudi_config.op` {} does not look keys up: changes of existing rows become duplicates",
            operation(false, hudi.operation)
        ));
    }
    StepWork::SparkSubmit {
        arguments,
        table: Some(work),
        load: None,
    }
}

/// A seed fills an empty folder, so nothing needs to be looked up, whatever the table's operation is.
fn operation(seeds: bool, operation: WriteOperation) -> &'static str {
    match (seeds, operation) {
        (true, _) | (false, WriteOperation::BulkInsert) => "BULK_INSERT",
        (false, WriteOperation::Insert) => "INSERT",
        (false, WriteOperation::Upsert) => "UPSERT",
    }
}

fn streamer_options(
    scope: &Scope,
    hudi: &HudiConfig,
    work: &TableWork,
    seeds: bool,
) -> BTreeMap<&'static str, String> {
    let fixed = [
        ("hoodie.datasource.write.drop.partition.columns", "false"),
        ("hoodie.datasource.write.hive_style_partitioning", "true"),
        ("hoodie.datasource.write.precombine.field", ORDERING_COLUMN),
        ("hoodie.metadata.enable", "false"),
        ("hoodie.parquet.outputtimestamptype", "TIMESTAMP_MICROS"),
        ("hoodie.record.merge.mode", "EVENT_TIME_ORDERING"),
        ("hoodie.table.timeline.timezone", "UTC"),
        ("hoodie.write.auto.upgrade", "false"),
        ("hoodie.write.set.null.for.missing.columns", "true"),
        ("hoodie.write.table.version", TABLE_VERSION),
    ];
    let mut options: BTreeMap<&'static str, String> = fixed
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    options.insert(
        "hoodie.datasource.write.recordkey.field",
        hudi.primary_key.join(","),
    );
    options.insert(
        "hoodie.datasource.write.keygenerator.class",
        key_generator(hudi).to_owned(),
    );
    let partition = match &hudi.partitioning {
        Partitioning::None => String::new(),
        Partitioning::By(columns) => columns.join(","),
    };
    options.insert(
        "hoodie.datasource.write.partitionpath.field",
        partition.clone(),
    );
    index(hudi, &mut options);
    if seeds {
        options.insert(
            "hoodie.streamer.source.dfs.root",
            format!("{}/run={{load_run_id}}", work.loads),
        );
    } else {
        options.insert(
            "hoodie.streamer.source.sql.file",
            "{change_files}".to_owned(),
        );
        merger(&mut options);
    }
    if let Some(sql) = hudi
        .transformer
        .as_ref()
        .and_then(|transformer| transformer.sql.as_ref())
    {
        options.insert("hoodie.streamer.transformer.sql", sql.clone());
    }
    if scope.deployment.target == Target::Aws {
        sync(scope, hudi, work, partition, &mut options);
    }
    options
}

/// Records are merged as Spark's rows. Hudi's other way, through Avro, misreads decimals of up to 18 digits as the native engine writes them.
/// This one fails on two changes of one key when one is a delete, and carries stale deletes out: the query of changes brings neither.
fn merger(options: &mut BTreeMap<&'static str, String>) {
    for (name, value) in [
        ("hoodie.logfile.data.block.format", "parquet"),
        (
            "hoodie.write.record.merge.custom.implementation.classes",
            "org.apache.hudi.DefaultSparkRecordMerger",
        ),
    ] {
        options.insert(name, value.to_owned());
    }
}

/// Deletes may lack the partition's value, so a partitioned table is searched as a whole.
fn index(hudi: &HudiConfig, options: &mut BTreeMap<&'static str, String>) {
    match hudi.partitioning {
        Partitioning::None => {
            options.insert("hoodie.index.type", "SIMPLE".to_owned());
        }
        Partitioning::By(_) => {
            options.insert("hoodie.index.type", "GLOBAL_SIMPLE".to_owned());
            options.insert(
                "hoodie.simple.index.update.partition.path",
                "true".to_owned(),
            );
        }
    }
}

/// The Glue catalogue; a seed's sync moves the table's location to the new generation, as its last act.
fn sync(
    scope: &Scope,
    hudi: &HudiConfig,
    work: &TableWork,
    partition: String,
    options: &mut BTreeMap<&'static str, String>,
) {
    let derived = match hudi.partitioning {
        Partitioning::None => "org.apache.hudi.hive.NonPartitionedExtractor",
        Partitioning::By(_) => "org.apache.hudi.hive.MultiPartKeysValueExtractor",
    };
    let extractor = hudi.partition_extractor_class.as_deref().unwrap_or(derived);
    for (name, value) in [
        (
            "hoodie.datasource.hive_sync.database",
            scope.database.target_db_name.as_str(),
        ),
        ("hoodie.datasource.hive_sync.mode", "hms"),
        (
            "hoodie.datasource.hive_sync.partition_extractor_class",
            extractor,
        ),
        ("hoodie.datasource.hive_sync.support_timestamp", "true"),
        (
            "hoodie.datasource.hive_sync.table",
            work.target_table.as_str(),
        ),
        ("hoodie.datasource.hive_sync.use_jdbc", "false"),
    ] {
        options.insert(name, value.to_owned());
    }
    options.insert("hoodie.datasource.hive_sync.partition_fields", partition);
}

/// A script of a custom pipeline.
pub fn script(scope: &Scope, name: &str, step: &ScriptStep) -> StepWork {
    let runtime = runtime(scope);
    let mut arguments = submit(scope, &runtime, name, &HUDI_CONF, Some(&step.spark_conf));
    arguments.extend(["--jars".to_owned(), runtime.hudi.join(",")]);
    let mut parts = step.entrypoint.iter();
    if let Some(script) = parts.next() {
        arguments.push(resolve(&scope.deployment.jobs, script));
    }
    arguments.extend(parts.cloned());
    StepWork::SparkSubmit {
        arguments,
        table: None,
        load: None,
    }
}
