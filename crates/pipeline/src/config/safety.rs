//! What configuration may not do: whoever may write the table decides what runs on the cluster.

use crate::problem::{Problem, nearest};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// `spark_conf` keys that a deployment allows by name beyond the list. What is refused stays refused.
pub type OptOuts = BTreeSet<String>;

/// Keys that are refused whatever the deployment says, and why. `*` stands for any text.
pub const REFUSED: &[(&str, &str)] = &[
    ("*extraJavaOptions", "it can load code into the JVM"),
    ("*defaultJavaOptions", "it can load code into the JVM"),
    ("*extraClassPath", "it loads code"),
    ("*extraLibraryPath", "it loads code"),
    ("*userClassPathFirst", "it changes which code is loaded"),
    ("spark.jars*", "it loads code"),
    ("spark.files*", "it brings files to the cluster"),
    ("spark.archives*", "it brings files to the cluster"),
    ("spark.submit.*", "it brings code to the cluster"),
    ("spark.pyspark.*", "it chooses the interpreter"),
    ("spark.r.*", "it chooses the interpreter"),
    ("spark.yarn.dist.*", "it brings files to the cluster"),
    ("spark.yarn.jars", "it loads code"),
    ("spark.yarn.archive", "it loads code"),
    (
        "*Env.*",
        "it sets variables that can load code or leak secrets",
    ),
    (
        "spark.executorEnv.*",
        "it sets variables that can load code or leak secrets",
    ),
    ("spark.hadoop.*", "it can redirect storage and credentials"),
    ("spark.plugins*", "it loads code"),
    ("spark.extraListeners", "it loads code"),
    ("spark.sql.extensions", "it loads code"),
    ("spark.sql.catalog.*", "it loads code"),
    ("spark.sql.queryExecutionListeners", "it loads code"),
    (
        "spark.sql.streaming.streamingQueryListeners",
        "it loads code",
    ),
    ("spark.kryo.registrator", "it loads code"),
    ("spark.kryo.classesToRegister", "it loads code"),
    ("spark.redaction.*", "it can show secrets in logs"),
    ("spark.sql.redaction.*", "it can show secrets in logs"),
    ("spark.eventLog.*", "it can send logs elsewhere"),
    ("spark.metrics.*", "it can send data elsewhere"),
    ("spark.ui.*", "it can open the cluster"),
    ("spark.authenticate*", "it can open the cluster"),
    ("spark.acls.*", "it can open the cluster"),
    ("spark.ssl.*", "it can open the cluster"),
    ("spark.master", "the plan chooses it"),
    ("spark.app.name", "the plan chooses it"),
    ("spark.sql.session.timeZone", "the lake is in UTC"),
    (
        "spark.sql.parquet.outputTimestampType",
        "the lake holds microseconds",
    ),
];

/// Keys that may be set.
pub const ALLOWED: &[&str] = &[
    // sizing
    "spark.driver.cores",
    "spark.driver.memory",
    "spark.driver.memoryOverhead",
    "spark.driver.memoryOverheadFactor",
    "spark.driver.maxResultSize",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.executor.memoryOverheadFactor",
    "spark.executor.pyspark.memory",
    "spark.executor.heartbeatInterval",
    "spark.default.parallelism",
    "spark.yarn.am.memory",
    "spark.yarn.am.cores",
    "spark.yarn.executor.memoryOverhead",
    "spark.yarn.driver.memoryOverhead",
    "spark.cleaner.periodicGC.interval",
    // task CPUs, retries, locality, speculation
    "spark.task.cpus",
    "spark.task.maxFailures",
    "spark.stage.maxConsecutiveAttempts",
    "spark.locality.wait*",
    "spark.speculation*",
    "spark.excludeOnFailure.*",
    // shuffle, dynamic allocation, memory
    "spark.shuffle.*",
    "spark.reducer.*",
    "spark.dynamicAllocation.*",
    "spark.memory.*",
    "spark.storage.memoryMapThreshold",
    "spark.broadcast.*",
    // network and heartbeat
    "spark.network.*",
    "spark.rpc.*",
    "spark.port.maxRetries",
    // serializer and compression
    "spark.serializer",
    "spark.serializer.*",
    "spark.kryoserializer.*",
    "spark.rdd.compress",
    "spark.io.compression.*",
    // SQL tuning
    "spark.sql.shuffle.partitions",
    "spark.sql.adaptive.*",
    "spark.sql.autoBroadcastJoinThreshold",
    "spark.sql.broadcastTimeout",
    "spark.sql.files.*",
    "spark.sql.sources.*",
    "spark.sql.parquet.*",
    "spark.sql.legacy.parquet.*",
    "spark.sql.inMemoryColumnarStorage.*",
    "spark.sql.join.*",
    "spark.sql.execution.arrow.*",
    "spark.sql.execution.topKSortFallbackThreshold",
    "spark.sql.optimizer.*",
    "spark.sql.cbo.*",
    "spark.sql.statistics.*",
    "spark.sql.caseSensitive",
    "spark.sql.ansi.enabled",
    "spark.sql.debug.maxToStringFields",
    "spark.sql.codegen.*",
];

/// Whether a pattern with at most one `*` at each end covers a name, without regard to case.
fn covers(pattern: &str, name: &str) -> bool {
    let part = pattern.trim_matches('*').as_bytes();
    let name = name.as_bytes();
    let same_at = |at: usize| {
        let there = name.get(at..at + part.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(part))
    };
    let last = name.len().checked_sub(part.len());
    match (pattern.starts_with('*'), pattern.ends_with('*')) {
        (true, true) => last.is_some_and(|last| (0..=last).any(same_at)),
        (true, false) => last.is_some_and(same_at),
        (false, true) => same_at(0),
        (false, false) => name.eq_ignore_ascii_case(part),
    }
}

/// Notes each setting that may not be made.
pub fn check_spark_conf(
    key: &str,
    prefix: &str,
    conf: &BTreeMap<String, String>,
    opt_outs: &OptOuts,
    problems: &mut Vec<Problem>,
) {
    for name in conf.keys() {
        let path = format!("{prefix}{name}");
        if let Some((_, reason)) = REFUSED.iter().find(|(pattern, _)| covers(pattern, name)) {
            problems
                .push(Problem::fault(key, path, format!("is refused: {reason}")).hint("remove it"));
        } else if !opt_outs.contains(name) && !ALLOWED.iter().any(|pattern| covers(pattern, name)) {
            let near = nearest(
                name,
                ALLOWED.iter().copied().filter(|name| !name.contains('*')),
            );
            let problem =
                Problem::fault(key, path, "is not on the list of settings that may be made");
            problems.push(problem.hint(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "sizing, shuffle, memory, network, serializer and SQL tuning may be set; a deployment can allow it by name in `spark_conf_opt_outs`".to_owned(),
            }));
        }
    }
}

/// Options of Spark's JDBC source that may be set.
pub const JDBC_OPTIONS: &[&str] = &[
    "dbtable",
    "query",
    "prepareQuery",
    "partitionColumn",
    "lowerBound",
    "upperBound",
    "numPartitions",
    "fetchsize",
    "queryTimeout",
    "customSchema",
    "pushDownPredicate",
    "pushDownAggregate",
    "pushDownLimit",
    "pushDownOffset",
    "pushDownTableSample",
    "preferTimestampNTZ",
    "sessionInitStatement",
];

/// Options that say where and as whom to connect.
pub const JDBC_REFUSED: [&str; 4] = ["url", "user", "password", "driver"];

/// Notes each JDBC option that may not be set or does not go with the others.
pub fn check_jdbc(key: &str, options: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    let given = |wanted: &str| options.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    for name in options.keys() {
        let path = format!("spark_jdbc_config.{name}");
        let lower = name.to_ascii_lowercase();
        if JDBC_REFUSED.contains(&lower.as_str()) {
            problems.push(
                Problem::fault(
                    key,
                    path,
                    "is refused: the connection comes from the secret",
                )
                .hint("`database::config.secret` names it"),
            );
        } else if !JDBC_OPTIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            let problem = Problem::fault(key, path, "is not an option that may be set");
            problems.push(match nearest(name, JDBC_OPTIONS.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!("known: {}", crate::value::list(JDBC_OPTIONS))),
            });
        }
    }
    if given("dbtable") && given("query") {
        problems.push(
            Problem::fault(key, "spark_jdbc_config", "has both `dbtable` and `query`")
                .hint("keep one of them"),
        );
    }
    check_bounds(key, &given, problems);
    check_numbers(key, options, problems);
}

/// Spark wants all four of them, or none (`numPartitions` may stand alone).
fn check_bounds(key: &str, given: &dyn Fn(&str) -> bool, problems: &mut Vec<Problem>) {
    let wanted = [
        "partitionColumn",
        "lowerBound",
        "upperBound",
        "numPartitions",
    ];
    if !wanted[..3].iter().any(|name| given(name)) {
        return;
    }
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !given(name)).collect();
    if !missing.is_empty() {
        problems.push(
            Problem::fault(key, "spark_jdbc_config", format!("lacks {}", crate::value::list(&missing)))
                .hint("partitioned reading wants all of `partitionColumn`, `lowerBound`, `upperBound`, `numPartitions`"),
        );
    }
    if given("query") {
        problems.push(
            Problem::fault(key, "spark_jdbc_config", "has both `query` and `partitionColumn`")
                .hint("Spark does not partition a `query`: write it as `dbtable` in brackets with an alias"),
        );
    }
}

fn check_numbers(key: &str, options: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (name, value) in options {
        let wants_number = ["numpartitions", "fetchsize", "querytimeout"]
            .contains(&name.to_ascii_lowercase().as_str());
        if wants_number && value.parse::<u32>().is_err() {
            let path = format!("spark_jdbc_config.{name}");
            let found = crate::problem::Found::Value(format!("\"{value}\""));
            problems.push(Problem::new(key, path, found, "a whole number"));
        }
    }
}

/// Last words of a name whose value is a credential. `secret` is none of them: items name secrets.
const CREDENTIAL_NAMES: [&str; 8] = [
    "password",
    "passwd",
    "pwd",
    "token",
    "access_key",
    "secret_key",
    "api_key",
    "private_key",
];

/// Notes each text that holds a credential, without showing it: whoever may read the table could use it.
pub fn check_secrets(key: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) {
    for (name, value) in map {
        secrets_in(key, &|| name.escape_debug().to_string(), value, problems);
    }
}

/// The path is made only where something is found.
fn secrets_in(key: &str, path: &dyn Fn() -> String, value: &Value, problems: &mut Vec<Problem>) {
    match value {
        Value::String(text) => {
            if let Some(what) = credential(text) {
                problems.push(holds(key, &path(), what));
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                let below = || format!("{}.{n}", path());
                let flag = n.checked_sub(1).and_then(|before| values[before].as_str());
                let text = value.as_str().unwrap_or("-");
                if flag.is_some_and(is_credential_flag) && !text.starts_with(['-', '$']) {
                    problems.push(holds(key, &below(), "a password, key or token"));
                } else {
                    secrets_in(key, &below, value, problems);
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                let below = || format!("{}.{}", path(), name.escape_debug());
                secrets_in(key, &below, value, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn holds(key: &str, path: &str, what: &str) -> Problem {
    Problem::fault(key, path, format!("holds {what}"))
        .hint("store it as a secret, and let the step read it by the secret's name")
}

/// `--password` and the like, with the value as the next argument.
fn is_credential_flag(text: &str) -> bool {
    text.starts_with('-') && names_credential(text)
}

fn names_credential(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = name.trim_start_matches('-');
    let words = name.to_ascii_lowercase().replace(['-', '.'], "_");
    name.chars().all(plain) && CREDENTIAL_NAMES.iter().any(|end| words.ends_with(end))
}

/// What a text holds, when it looks like a credential.
fn credential(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") {
        return Some("a private key or certificate");
    }
    if ["AKIA", "ASIA"].iter().any(|start| {
        text.match_indices(start)
            .any(|(at, _)| is_access_key(&text[at..]))
    }) {
        return Some("an access key of AWS");
    }
    if text
        .split("://")
        .skip(1)
        .any(|rest| has_password(rest.split(['/', '?']).next().unwrap_or_default()))
    {
        return Some("a password in a URL");
    }
    let (name, value) = text.split_once('=')?;
    (names_credential(name) && !value.is_empty() && !value.starts_with('$'))
        .then_some("a password, key or token")
}

fn is_access_key(text: &str) -> bool {
    let fine = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    text.bytes().take_while(|b| fine(b)).count() == 20
}

/// `user:password@host`
fn has_password(authority: &str) -> bool {
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_credential_in_an_item_is_refused_without_being_shown() {
        for (item, expected) in [
            (
                json!({"entrypoint": ["a.py", "--db-password=hunter2"]}),
                vec!["k: `entrypoint.1` holds a password, key or token"],
            ),
            (
                json!({"entrypoint": ["a.py", "--api-key", "hunter2", "--limit", "3"]}),
                vec!["k: `entrypoint.2` holds a password, key or token"],
            ),
            (
                json!({"secret": "postgres://ops:hunter2@db/shop"}),
                vec!["k: `secret` holds a password in a URL"],
            ),
            (
                json!({"a": {"b": "id AKIAHUNTER2HUNTER2HU"}}),
                vec!["k: `a.b` holds an access key of AWS"],
            ),
            (
                json!({"a": "-----BEGIN PRIVATE KEY-----hunter2"}),
                vec!["k: `a` holds a private key or certificate"],
            ),
            (
                json!({
                    "secret": "shop/password",
                    "entrypoint": ["tokenize.py", "--secret", "shop/db", "--token", "$TOKEN", "--token", "--dry",
                        "s3://bucket/a:b@c", "--count=3"],
                    "hudi_config": {"transformer_sql": "SELECT password FROM <SRC> WHERE token = 'a'"},
                }),
                vec![],
            ),
        ] {
            let mut problems = Vec::new();
            check_secrets("k", item.as_object().unwrap(), &mut problems);
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let first: Vec<&str> = texts
                .iter()
                .filter_map(|text| text.lines().next())
                .collect();
            assert_eq!(first, expected, "{item}");
            assert!(!texts.concat().to_lowercase().contains("hunter2"));
        }
    }
}
