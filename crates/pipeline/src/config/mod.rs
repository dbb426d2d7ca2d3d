//! Items of one identifier as types. All mistakes of all items are gathered; what is right is kept beside them.

pub mod cross;
pub mod database;
pub mod pipeline;
pub mod safety;
pub mod script;
pub mod table;

use crate::item::place_of;
use crate::key::{ConfigKey, Name, PipelineName, print_table};
use crate::path::TableName;
use crate::problem::{Found, Problem, shown};
use database::Database;
use pipeline::Pipeline;
use safety::OptOuts;
use script::ScriptStep;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use table::TableStep;

/// The attributes of each form of item: the form, the path of the object with a dot at its end, the names in it.
pub const ATTRIBUTES: &[(&str, &str, &[&str])] = &[
    ("database::config", "", database::KNOWN),
    ("database::config", "capture.", database::KNOWN_CAPTURE),
    ("pipeline::", "", pipeline::KNOWN),
    ("pipeline::", "emr_config.", pipeline::KNOWN_EMR),
    ("pipeline::", "emr_config.master.", pipeline::KNOWN_MASTER),
    ("pipeline::", "emr_config.worker.", pipeline::KNOWN_WORKER),
    (
        "pipeline::",
        "emr_config.managed_scaling.",
        pipeline::KNOWN_SCALING,
    ),
    ("pipeline::", "next_pipeline.", pipeline::KNOWN_NEXT),
    ("step::system::", "", table::KNOWN),
    ("step::system::", "hudi_config.", table::KNOWN_HUDI),
    ("step::system::", "spark_jdbc_config.", safety::JDBC_OPTIONS),
    ("step::<custom>::", "", script::KNOWN),
    ("generation::config", "", KNOWN_GENERATION),
];
const KNOWN_GENERATION: &[&str] = &["identifier", "config", "generation"];

/// The configuration of one identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub identifier: String,
    /// `None`: missing or faulty.
    pub database: Option<Database>,
    pub pipelines: BTreeMap<PipelineName, Pipeline>,
    /// Tables by the name that their key has. `None`: `enabled` cannot be told.
    pub tables: BTreeMap<String, (TableName, Option<TableStep>)>,
    /// Scripts by custom pipeline and step.
    pub scripts: BTreeMap<Name, BTreeMap<String, Option<ScriptStep>>>,
    /// Mistakes by the key of the item that has them.
    pub problems: BTreeMap<String, Vec<Problem>>,
    /// What is allowed, but likely not meant.
    pub warnings: Vec<Problem>,
}

/// What `check` says of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub configs: Vec<Config>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Checks all items of all identifiers.
pub fn check(items: &[Value], opt_outs: &OptOuts) -> Checked {
    let mut checked = Checked::default();
    let mut groups: BTreeMap<String, Vec<(usize, &Value)>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        match identifier_of(item, index) {
            Ok(identifier) => groups.entry(identifier).or_default().push((index, item)),
            Err(problem) => checked.problems.push(*problem),
        }
    }
    for (identifier, items) in groups {
        let config = parse(&identifier, &items, opt_outs);
        let named = |problem: &Problem| problem.clone().of(&identifier);
        let problems = config.problems.values().flatten().map(named);
        checked.problems.extend(problems);
        checked.warnings.extend(config.warnings.iter().map(named));
        checked.configs.push(config);
    }
    checked
}

/// The identifier of an item, or what is wrong with it.
pub fn identifier_of(item: &Value, index: usize) -> Result<String, Box<Problem>> {
    let place = place_of(item, index);
    let hint = "the identifier groups one database, its pipelines and its steps";
    if !item.is_object() {
        let found = Found::Value(shown("", item));
        return Err(Problem::new(&place, "", found, "an object").into());
    }
    let problem = match item.get("identifier") {
        None | Some(Value::Null) => {
            Problem::new(&place, "identifier", Found::Missing, "a text").hint(hint)
        }
        Some(Value::String(text)) => match text.parse::<Name>() {
            Ok(_) => return Ok(text.clone()),
            Err(error) => {
                Problem::fault(&place, "identifier", error.to_string()).hint(error.hint())
            }
        },
        Some(value) => {
            let found = Found::Value(shown("identifier", value));
            Problem::new(&place, "identifier", found, "a text").hint(hint)
        }
    };
    Err(problem.into())
}

/// Parses the items of one identifier, each with its place in the file, and checks them against each other.
pub fn parse(identifier: &str, items: &[(usize, &Value)], opt_outs: &OptOuts) -> Config {
    let mut config = Config {
        identifier: identifier.to_owned(),
        ..Config::default()
    };
    let mut items = items.to_vec();
    items.sort_by(|(_, left), (_, right)| in_order(left, right));
    let mut seen = BTreeSet::new();
    for (index, item) in items {
        let mut problems = Vec::new();
        let key = match item.as_object().map(|map| (map, key_of(item, index))) {
            Some((map, Ok(key))) => {
                let text = key.to_string();
                if !seen.insert(text.clone()) {
                    problems.push(
                        Problem::fault(&text, "", "is given twice").hint("keep one of the two"),
                    );
                } else {
                    config.add(key, &text, map, opt_outs, &mut problems);
                }
                text
            }
            Some((_, Err(problem))) => {
                let place = problem.key.clone();
                problems.push(*problem);
                place
            }
            None => continue,
        };
        config.note(key, problems);
    }
    cross::check(&mut config, seen.contains("database::config"));
    config
}

/// By key; of two items with one key, which is a mistake, always the same one comes first.
fn in_order(left: &Value, right: &Value) -> Ordering {
    fn key(item: &Value) -> Option<&str> {
        item.get("config").and_then(Value::as_str)
    }
    let by_key = key(left).cmp(&key(right));
    by_key.then_with(|| left.to_string().cmp(&right.to_string()))
}

/// The key of an item, or what is wrong with it.
fn key_of(item: &Value, index: usize) -> Result<ConfigKey, Box<Problem>> {
    let place = place_of(item, index);
    let problem = match item.get("config") {
        Some(Value::String(text)) => match text.parse::<ConfigKey>() {
            Ok(key) => return Ok(key),
            Err(error) => Problem::fault(&place, "config", error.to_string()).hint(error.hint()),
        },
        None | Some(Value::Null) => Problem::new(
            &place,
            "config",
            Found::Missing,
            "a key such as `database::config`",
        ),
        Some(value) => {
            let found = Found::Value(shown("config", value));
            Problem::new(&place, "config", found, "a text")
        }
    };
    Err(problem.into())
}

impl Config {
    fn add(
        &mut self,
        key: ConfigKey,
        text: &str,
        map: &Map<String, Value>,
        opt_outs: &OptOuts,
        problems: &mut Vec<Problem>,
    ) {
        safety::check_secrets(text, map, problems);
        match key {
            ConfigKey::Database => self.database = database::parse(text, map, problems),
            ConfigKey::Pipeline(name) => {
                let pipeline = pipeline::parse(text, map, problems);
                self.pipelines.insert(name, pipeline);
            }
            ConfigKey::Table(table) => {
                let step = table::parse(text, map, opt_outs, problems);
                self.tables.insert(print_table(&table), (table, step));
            }
            ConfigKey::Script { pipeline, step } => {
                let script = script::parse(text, map, opt_outs, problems);
                let steps = self.scripts.entry(pipeline).or_default();
                steps.insert(step.to_string(), script);
            }
            ConfigKey::Generation => generation(text, map, problems),
        }
    }

    /// Adds mistakes to those of a key.
    pub fn note(&mut self, key: String, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.problems.entry(key).or_default().extend(problems);
        }
    }

    /// The mistakes of one item.
    pub fn problems_of(&self, key: &ConfigKey) -> &[Problem] {
        self.problems
            .get(&key.to_string())
            .map_or(&[], Vec::as_slice)
    }
}

fn generation(key: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) {
    let fields = crate::value::Fields::open(key, "", map, KNOWN_GENERATION, problems);
    fields.require("generation", "the digest of the other items", problems);
    fields.text("generation", problems);
}
