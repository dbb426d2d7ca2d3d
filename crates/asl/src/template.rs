//! Payload templates: Parameters and ResultSelector, read once at load.

use crate::context::Scope;
use crate::fault::Fault;
use crate::intrinsic::Call;
use crate::path::Path;
use serde_json::{Map, Value};

/// A JSON value in which some fields are filled when the state runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    Literal(Value),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
    Path(Path),
    Call(Call),
}

impl Template {
    pub fn fill(&self, scope: &Scope<'_>) -> Result<Value, Fault> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Object(fields) => fields
                .iter()
                .map(|(name, field)| Ok((name.clone(), field.fill(scope)?)))
                .collect::<Result<Map<_, _>, Fault>>()
                .map(Value::Object),
            Self::Array(items) => items.iter().map(|item| item.fill(scope)).collect(),
            Self::Path(path) => path
                .find(scope)
                .map(|found| found.into_owned())
                .ok_or_else(|| nothing_at(path)),
            Self::Call(call) => call.evaluate(scope),
        }
    }
}

/// The service gives `States.Runtime` here, though its list of errors names `States.ParameterPathFailure`.
pub(crate) fn nothing_at(path: &Path) -> Fault {
    Fault::runtime(format!("nothing is at `{path}`"))
}
