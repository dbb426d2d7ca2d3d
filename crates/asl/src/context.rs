//! The context object, `$$`, and the scope in which paths are read.

use crate::moment::Moment;
use crate::path::{Segment, walk};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Who an execution is: fixed when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `$$.Execution.Id`.
    pub id: String,
    /// `$$.Execution.Name`.
    pub name: String,
    /// `$$.StateMachine.Id`.
    pub machine_id: String,
    /// `$$.StateMachine.Name`.
    pub machine_name: String,
    /// `$$.Execution.Input`.
    pub input: Value,
    /// `$$.Execution.StartTime`.
    pub started: Moment,
}

/// What `$$` means in one state.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub identity: &'a Identity,
    pub state: &'a str,
    pub entered: Moment,
    pub retry_count: u32,
}

/// What `$` and `$$` mean where a path is read.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub input: &'a Value,
    pub context: Context<'a>,
}

impl<'a> Context<'a> {
    pub(crate) fn find(&self, segments: &[Segment]) -> Option<Cow<'a, Value>> {
        let is_field = |at: usize, name: &str| matches!(segments.get(at), Some(Segment::Field(f)) if f == name);
        if is_field(0, "Execution") && is_field(1, "Input") {
            return walk(&self.identity.input, &segments[2..]);
        }
        // The start input is the only part that may be big: it is copied only when the path covers it.
        let mut object = self.without_input();
        if segments.len() < 2
            && let Some(Value::Object(execution)) = object.get_mut("Execution")
        {
            execution.insert("Input".to_owned(), self.identity.input.clone());
        }
        walk(&Value::Object(object), segments).map(|found| Cow::Owned(found.into_owned()))
    }

    fn without_input(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert(
            "Execution".to_owned(),
            json!({
                "Id": self.identity.id,
                "Name": self.identity.name,
                "StartTime": self.identity.started.to_string(),
            }),
        );
        object.insert(
            "State".to_owned(),
            json!({
                "Name": self.state,
                "EnteredTime": self.entered.to_string(),
                "RetryCount": self.retry_count,
            }),
        );
        object.insert(
            "StateMachine".to_owned(),
            json!({"Id": self.identity.machine_id, "Name": self.identity.machine_name}),
        );
        object
    }
}
