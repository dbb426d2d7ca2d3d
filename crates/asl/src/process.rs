//! Input and output processing of a state: InputPath, Parameters, ResultSelector, ResultPath, OutputPath.

use crate::context::{Context, Scope};
use crate::fault::{DATA_LIMIT_EXCEEDED, Fault, RESULT_PATH_MATCH_FAILURE};
use crate::limits::{PAYLOAD_BYTES_MAX, exceeds_payload};
use crate::machine::{Filter, ResultPath, Seconds, Text};
use crate::moment::Moment;
use crate::path::Path;
use crate::template::{Template, nothing_at};
use serde_json::{Map, Value};
use std::borrow::Cow;

impl Filter {
    /// What of the value passes.
    pub(crate) fn apply<'v>(
        &self,
        value: &'v Value,
        context: Context<'v>,
    ) -> Result<Cow<'v, Value>, Fault> {
        match self {
            Self::Whole => Ok(Cow::Borrowed(value)),
            Self::Nothing => Ok(Cow::Owned(Value::Object(Map::new()))),
            Self::Path(path) => path
                .find(&Scope {
                    input: value,
                    context,
                })
                .ok_or_else(|| nothing_at(path)),
        }
    }

    /// The same for a value that is given away: nothing is copied when all of it passes.
    pub(crate) fn pass(&self, value: Value, context: Context<'_>) -> Result<Value, Fault> {
        match self {
            Self::Whole => Ok(value),
            Self::Nothing => Ok(Value::Object(Map::new())),
            Self::Path(_) => self.apply(&value, context).map(Cow::into_owned),
        }
    }
}

impl ResultPath {
    pub(crate) fn apply(&self, input: Value, result: Value) -> Result<Value, Fault> {
        match self {
            Self::Discard => Ok(input),
            Self::To(path) if path.is_whole() => Ok(result),
            Self::To(path) => path.write(input, result).ok_or_else(|| {
                Fault::new(
                    RESULT_PATH_MATCH_FAILURE,
                    format!("the input has no place for a result at `{path}`"),
                )
            }),
        }
    }
}

/// Fills the template, or passes the value on.
pub(crate) fn fill<'v>(
    template: Option<&Template>,
    value: Cow<'v, Value>,
    context: Context<'_>,
) -> Result<Cow<'v, Value>, Fault> {
    let Some(template) = template else {
        return Ok(value);
    };
    let scope = Scope {
        input: &value,
        context,
    };
    template.fill(&scope).map(Cow::Owned)
}

impl Seconds {
    pub(crate) fn read(&self, scope: &Scope<'_>) -> Result<u64, Fault> {
        match self {
            Self::Fixed(seconds) => Ok(*seconds),
            Self::At(path) => find(path, scope)?
                .as_u64()
                .filter(|seconds| *seconds <= crate::limits::SECONDS_MAX)
                .ok_or_else(|| Fault::runtime(format!("`{path}` is not a number of seconds"))),
        }
    }
}

impl Text {
    pub(crate) fn read(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        let value = match self {
            Self::Fixed(text) => return Ok(text.clone()),
            Self::At(path) => find(path, scope)?.into_owned(),
            Self::Call(call) => call.evaluate(scope)?,
        };
        match value {
            Value::String(text) => Ok(text),
            _ => Err(Fault::runtime("an error or a cause is not a text")),
        }
    }
}

pub(crate) fn moment_at(path: &Path, scope: &Scope<'_>) -> Result<Moment, Fault> {
    find(path, scope)?
        .as_str()
        .and_then(Moment::parse)
        .ok_or_else(|| Fault::runtime(format!("`{path}` is not a timestamp")))
}

fn find<'v>(path: &Path, scope: &Scope<'v>) -> Result<Cow<'v, Value>, Fault> {
    path.find(scope).ok_or_else(|| nothing_at(path))
}

/// Refuses a value that is too big to be passed on.
pub(crate) fn bounded(value: Value, what: &str) -> Result<Value, Fault> {
    if exceeds_payload(&value) {
        return Err(Fault::new(
            DATA_LIMIT_EXCEEDED,
            format!("{what} is bigger than {PAYLOAD_BYTES_MAX} bytes"),
        ));
    }
    Ok(value)
}
