//! What is compared: the tables of an identifier that have silver, from the items of a home folder.

use super::Refusal;
use super::report::TableReport;
use crate::failure::Failure;
use crate::secret::Secret;
use local::Local;
use pipeline::deployment::Deployment;
use pipeline::key::{ConfigKey, PipelineName};
use pipeline::plan::{Plan, StepWork, TableWork};
use pipeline::planning::{self, PlanRequest};
use pipeline::problem::{Problem, nearest};
use pipeline::value::list;
use serde_json::Value;
use std::path::Path;
use tasks::port::{ConfigTable, PortError};

pub struct Scope {
    pub local: Local,
    pub plan: Plan,
    /// Tables to compare, by name.
    pub tables: Vec<(String, TableWork)>,
    /// Tables whose items are faulty.
    pub faulty: Vec<TableReport>,
}

/// Pipelines whose plans name silver tables; the first one that has items is planned.
const PIPELINES: [PipelineName; 3] = [
    PipelineName::IncrementalHudi,
    PipelineName::ContinuousHudi,
    PipelineName::SeedHudi,
];

impl Scope {
    pub async fn open(home: &Path, identifier: &str, wanted: &[String]) -> Result<Self, Refusal> {
        if !home.join("headwater.db").exists() {
            return Err(Refusal::Usage(
                format!("there is no home folder: `{}`", home.display()),
                Some("name it with `--home` or `HEADWATER_HOME`".to_owned()),
            ));
        }
        let local = Local::open(home).map_err(|error| {
            Failure::new("HomeUnusable", "the home folder cannot be used").caused_by(&error)
        })?;
        let items = items(&local, identifier).await?;
        let plan = plan(&local, identifier, &items)?;
        let (mut tables, mut faulty) = (tables(&plan), faulty(&plan));
        if !wanted.is_empty() {
            check(&plan, &tables, &faulty, wanted)?;
            tables.retain(|(name, _)| wanted.contains(name));
            faulty.retain(|table| wanted.contains(&table.name));
        }
        if tables.is_empty() && faulty.is_empty() {
            return Err(Refusal::Usage(
                format!("`{identifier}` has no table in silver"),
                Some("a table has one when its item has `hudi_config` and is enabled".to_owned()),
            ));
        }
        Ok(Self {
            local,
            plan,
            tables,
            faulty,
        })
    }

    pub fn secret(&self) -> Result<Secret, Failure> {
        Secret::read(&self.local.home().secrets(), &self.plan.source.secret)
    }
}

async fn items(local: &Local, identifier: &str) -> Result<Vec<Value>, Refusal> {
    let unreadable = |error: PortError| {
        Failure::new("HomeUnusable", "the configuration table cannot be read").caused_by(&error)
    };
    let items = local.items(identifier).await.map_err(unreadable)?;
    if !items.is_empty() {
        return Ok(items);
    }
    let known = local.config_identifiers().map_err(unreadable)?;
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(unknown("identifier", identifier, &known))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Refusal {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no {what} at all: `headwater import` first"),
        None => format!("known: {}", list(known)),
    };
    Refusal::Usage(format!("{what} is unknown: `{name}`"), Some(hint))
}

fn plan(local: &Local, identifier: &str, items: &[Value]) -> Result<Plan, Refusal> {
    let has = |pipeline: &PipelineName| {
        let key = ConfigKey::Pipeline(pipeline.clone()).to_string();
        items.iter().any(|item| item["config"] == *key)
    };
    let Some(pipeline) = PIPELINES.into_iter().find(has) else {
        return Err(Refusal::Usage(
            format!("`{identifier}` has no pipeline that writes silver"),
            Some(format!(
                "known: {}",
                list(&PIPELINES.each_ref().map(PipelineName::as_str))
            )),
        ));
    };
    let request = PlanRequest {
        identifier: identifier.to_owned(),
        pipeline: pipeline.to_string(),
        engine: None,
    };
    let deployment = Deployment::local(&local.home().root().to_string_lossy());
    planning::plan(items, &deployment, &request).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Refusal::Failed(Failure::new("BadConfiguration", lines.join("\n")))
    })
}

fn tables(plan: &Plan) -> Vec<(String, TableWork)> {
    let work = |work: &StepWork| match work {
        StepWork::Seed(table) | StepWork::Merge(table) => Some(table.clone()),
        StepWork::SparkSubmit { table, .. } => table.clone(),
        StepWork::Load(_) | StepWork::Program { .. } => None,
    };
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| Some((step.name.clone(), work(&step.work)?)))
        .collect()
}

fn faulty(plan: &Plan) -> Vec<TableReport> {
    let report = |name: &str, problems: &[String]| {
        let hint = Some("headwater check".to_owned());
        TableReport::not_comparable(
            name,
            format!("its item is faulty: {}", problems.join("; ")),
            hint,
        )
    };
    let steps = plan.faulty.iter();
    steps
        .map(|step| report(&step.name, &step.problems))
        .collect()
}

/// Every table that was asked for must be one that can be compared.
fn check(
    plan: &Plan,
    tables: &[(String, TableWork)],
    faulty: &[TableReport],
    wanted: &[String],
) -> Result<(), Refusal> {
    let mut known: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    known.extend(faulty.iter().map(|table| table.name.as_str()));
    for name in wanted {
        if known.contains(&name.as_str()) {
            continue;
        }
        if plan.disabled.contains(name) {
            return Err(Refusal::Usage(format!("table is disabled: `{name}`"), None));
        }
        let not_applicable = plan.not_applicable.iter();
        return Err(match not_applicable.clone().find(|it| it.name == *name) {
            Some(it) => Refusal::Usage(format!("`{name}` has no silver: {}", it.reason), None),
            None => unknown("table", name, &known),
        });
    }
    Ok(())
}
