//! Steps of the native engine, and what it refuses by name.

use crate::config::script::ScriptStep;
use crate::config::table::{HudiConfig, TableStep};
use crate::key::parse_table;
use crate::path::TableName;
use crate::plan::{Load, PipelineKind, StepWork, TableType, TableWork, WriteOperation};
use crate::planning::Scope;
use crate::problem::Problem;
use crate::value::list;

/// Connections for one table, unless `numPartitions` says otherwise.
pub(crate) const LOAD_CONNECTIONS: u32 = 4;
/// More connections than this do not make a table faster, and a source has few.
pub(crate) const LOAD_CONNECTIONS_MAX: u32 = 32;
const USE_SPARK: &str = "use `\"engine\": \"spark\"` for this table, or remove it";

/// A load by binary COPY.
pub fn load(
    scope: &Scope,
    key: &str,
    table: &TableName,
    step: &TableStep,
    loads: &str,
    notes: &mut Vec<String>,
) -> Result<StepWork, Vec<Problem>> {
    let mut source = table.clone();
    let mut parallelism = LOAD_CONNECTIONS;
    let mut problems = Vec::new();
    let mut idle = Vec::new();
    for (name, value) in &step.spark_jdbc_config {
        match name.to_ascii_lowercase().as_str() {
            "dbtable" => match one_table(value, &table.schema) {
                Some(named) => source = named,
                None => problems.push(refused(key, name, "names no single table")),
            },
            "query" | "customschema" | "preparequery" | "sessioninitstatement" => {
                problems.push(refused(key, name, "is refused by the native engine"));
            }
            "numpartitions" => {
                let wanted = value.parse().unwrap_or(LOAD_CONNECTIONS);
                parallelism = wanted.clamp(1, LOAD_CONNECTIONS_MAX);
            }
            _ => idle.push(name.as_str()),
        }
    }
    if !idle.is_empty() {
        notes.push(format!(
            "not needed by the native engine, which slices the table by itself: {}",
            list(&idle)
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(StepWork::Load(Load {
        source,
        loads: loads.to_owned(),
        parallelism,
        changes_follow: scope.config.changes_follow() && step.hudi.is_some(),
    }))
}

fn refused(key: &str, name: &str, predicate: &str) -> Problem {
    Problem::fault(key, format!("spark_jdbc_config.{name}"), predicate).hint(USE_SPARK)
}

/// The one table that a `dbtable` names, or `None` for anything else.
pub(crate) fn one_table(text: &str, schema: &str) -> Option<TableName> {
    let text = text.trim();
    if text.contains(['(', ')', ';', ',']) {
        return None;
    }
    let unquoted = |name: &str| match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(inner) => Some(inner.replace("\"\"", "\"")),
        None if name.contains(char::is_whitespace) || name.contains('"') => None,
        // As in SQL, a name without quotes is in lower case.
        None => Some(name.to_lowercase()),
    };
    if text.contains('.') {
        let named = parse_table(text).ok()?;
        let schema = if text.starts_with('"') {
            Some(named.schema)
        } else {
            unquoted(&named.schema)
        };
        return Some(TableName {
            schema: schema?,
            table: unquoted(&named.table)?,
        });
    }
    Some(TableName {
        schema: schema.to_owned(),
        table: unquoted(text)?,
    })
}

/// A seed or a merge by the Hudi library.
pub fn table(
    key: &str,
    kind: PipelineKind,
    hudi: &HudiConfig,
    work: TableWork,
    notes: &mut Vec<String>,
) -> Result<StepWork, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut refuse = |path: &str, predicate: &str| {
        let path = format!("hudi_config.{path}");
        problems.push(Problem::fault(key, path, predicate.to_owned()).hint(USE_SPARK));
    };
    if hudi.table_type == TableType::MergeOnRead {
        refuse(
            "table_type",
            "is refused by the native engine: MERGE_ON_READ",
        );
    }
    match (kind.change_driven(), hudi.operation) {
        (true, WriteOperation::Insert) => refuse("op", "is refused by the native engine: INSERT"),
        (true, WriteOperation::BulkInsert) => {
            refuse("op", "is refused by the native engine: BULK_INSERT")
        }
        (true, WriteOperation::Upsert) | (false, _) => {}
    }
    if let Some(transformer) = &hudi.transformer {
        let predicate = format!("is refused by the native engine: {}", transformer.class);
        refuse("transformer_class", &predicate);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if kind == PipelineKind::ContinuousHudi {
        notes.push("a merge, repeated until the run is cancelled".to_owned());
    }
    Ok(match kind {
        PipelineKind::SeedHudi => StepWork::Seed(work),
        PipelineKind::IncrementalHudi
        | PipelineKind::ContinuousHudi
        | PipelineKind::JdbcLoad
        | PipelineKind::Custom => StepWork::Merge(work),
    })
}

/// A script as a program: Python and shell scripts by their interpreter, everything else by itself.
pub fn script(scope: &Scope, step: &ScriptStep) -> StepWork {
    let mut arguments = Vec::new();
    let mut parts = step.entrypoint.iter();
    if let Some(script) = parts.next() {
        let resolved = resolve(&scope.deployment.jobs, script);
        let path = resolved
            .strip_prefix("file://")
            .unwrap_or(&resolved)
            .to_owned();
        match script.rsplit_once('.') {
            Some((_, "py")) => arguments.push("python3".to_owned()),
            Some((_, "sh")) => arguments.push("sh".to_owned()),
            _ => {}
        }
        arguments.push(path);
    }
    arguments.extend(parts.cloned());
    StepWork::Program { arguments }
}

/// A relative script lies below the deployment's `jobs`; a whole URI or path stays as it is.
pub fn resolve(jobs: &str, script: &str) -> String {
    if script.contains("://") || script.starts_with('/') {
        script.to_owned()
    } else {
        format!("{jobs}/{script}")
    }
}
