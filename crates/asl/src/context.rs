//! The context object, `$$`, and the scope in which paths are read.

use crate::moment::Moment;
use crate::path::{Segment, walk};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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

/// The fields of the context object, by object.
pub(crate) const FIELDS: [(&str, &[&str]); 3] = [
    ("Execution", &["Id", "Input", "Name", "StartTime"]),
    ("State", &["EnteredTime", "Name", "RetryCount"]),
    ("StateMachine", &["Id", "Name"]),
];

impl<'a> Context<'a> {
    pub(crate) fn find(&self, segments: &[Segment]) -> Option<Cow<'a, Value>> {
        // One field is what definitions ask for: it is found without making the object.
        if let [Segment::Field(object), Segment::Field(field), rest @ ..] = segments {
            return match self.field(object, field)? {
                found if rest.is_empty() => Some(found),
                Cow::Borrowed(found) => walk(found, rest),
                Cow::Owned(_) => None,
            };
        }
        walk(&self.object(), segments).map(|found| Cow::Owned(found.into_owned()))
    }

    fn object(&self) -> Value {
        let fields = |object: &str, names: &[&str]| {
            let value = |name: &&str| Some(((*name).to_owned(), self.field(object, name)?));
            let fields = names.iter().filter_map(value);
            fields
                .map(|(name, value)| (name, value.into_owned()))
                .collect::<Map<_, _>>()
        };
        FIELDS
            .iter()
            .map(|(object, names)| ((*object).to_owned(), fields(object, names).into()))
            .collect::<Map<_, _>>()
            .into()
    }

    fn field(&self, object: &str, field: &str) -> Option<Cow<'a, Value>> {
        let identity = self.identity;
        Some(Cow::Owned(match (object, field) {
            ("Execution", "Input") => return Some(Cow::Borrowed(&identity.input)),
            ("Execution", "Id") => identity.id.as_str().into(),
            ("Execution", "Name") => identity.name.as_str().into(),
            ("Execution", "StartTime") => identity.started.to_string().into(),
            ("State", "Name") => self.state.into(),
            ("State", "EnteredTime") => self.entered.to_string().into(),
            ("State", "RetryCount") => self.retry_count.into(),
            ("StateMachine", "Id") => identity.machine_id.as_str().into(),
            ("StateMachine", "Name") => identity.machine_name.as_str().into(),
            _ => return None,
        }))
    }
}
