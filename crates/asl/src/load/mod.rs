//! From JSON to a [`Machine`]: everything that is wrong is reported at once, and what is not implemented is refused by name.

mod fields;
mod rules;
mod states;
mod tasks;
mod unique;
mod values;

use crate::limits::NAME_CHARACTERS_MAX;
use crate::machine::{Machine, State};
use fields::Fields;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One mistake of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// A JSONPath into the definition.
    pub path: String,
    pub found: String,
    pub expected: String,
    pub hint: Option<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`: expected {}, found {}",
            self.path, self.expected, self.found
        )?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

impl Machine {
    /// Reads the text of a definition; a field that is given twice is a mistake, too.
    pub fn parse(text: &str) -> Result<Self, Vec<LoadError>> {
        match unique::parse(text) {
            Ok(definition) => Self::load(&definition),
            Err(error) => Err(vec![LoadError {
                path: "$".to_owned(),
                found: error.to_string(),
                expected: "a JSON document without repeated fields".to_owned(),
                hint: None,
            }]),
        }
    }

    pub fn load(definition: &Value) -> Result<Self, Vec<LoadError>> {
        let mut errors = Vec::new();
        let machine = machine(definition, &mut errors);
        match machine {
            Some(machine) if errors.is_empty() => Ok(machine),
            _ => Err(errors),
        }
    }
}

fn machine(definition: &Value, errors: &mut Vec<LoadError>) -> Option<Machine> {
    let mut fields = Fields::new("$", definition, errors)?;
    fields.comment();
    fields.query_language();
    if let Some(version) = fields.take("Version")
        && version != "1.0"
    {
        fields.wrong("Version", version, "`1.0`");
    }
    let timeout_seconds = fields.seconds("TimeoutSeconds", 1);
    let start_at = fields.required_string("StartAt");
    let definitions = fields.required("States");
    fields.finish();
    let states = states(definitions?, errors)?;
    let start_at = start_at?;
    check_target(&states, "$.StartAt", &start_at, errors);
    for (name, state) in &states {
        for target in state.successors() {
            check_target(&states, &fields::join("$.States", name), target, errors);
        }
    }
    Some(Machine {
        start_at,
        timeout_seconds,
        states: states
            .into_iter()
            .filter_map(|(name, loaded)| loaded.state.map(|state| (name, state)))
            .collect(),
    })
}

/// A state that could not be read is kept by name, so that transitions to it are not reported as well.
struct Loaded {
    state: Option<State>,
}

impl Loaded {
    fn successors(&self) -> Vec<&str> {
        self.state.iter().flat_map(State::successors).collect()
    }
}

fn states(definitions: &Value, errors: &mut Vec<LoadError>) -> Option<BTreeMap<String, Loaded>> {
    let Some(definitions) = definitions.as_object().filter(|states| !states.is_empty()) else {
        errors.push(LoadError {
            path: "$.States".to_owned(),
            found: fields::describe(definitions),
            expected: "an object with at least one state".to_owned(),
            hint: None,
        });
        return None;
    };
    let mut states = BTreeMap::new();
    for (name, definition) in definitions {
        let path = fields::join("$.States", name);
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
            errors.push(LoadError {
                path: path.clone(),
                found: format!("a name of {} characters", name.chars().count()),
                expected: format!("a name of 1 to {NAME_CHARACTERS_MAX} characters"),
                hint: None,
            });
        }
        let state = states::state(&path, definition, errors);
        states.insert(name.clone(), Loaded { state });
    }
    Some(states)
}

fn check_target(
    states: &BTreeMap<String, Loaded>,
    path: &str,
    target: &str,
    errors: &mut Vec<LoadError>,
) {
    if !states.contains_key(target) {
        errors.push(LoadError {
            path: path.to_owned(),
            found: format!("a transition to `{target}`"),
            expected: "a transition to a state of this machine".to_owned(),
            hint: None,
        });
    }
}
