//! The fields of one object of a definition: each is taken once, what is left over is refused.

use super::LoadError;
use crate::limits::SECONDS_MAX;
use serde_json::{Map, Value};

pub(super) struct Fields<'d, 'e> {
    pub path: String,
    object: &'d Map<String, Value>,
    known: Vec<&'static str>,
    pub errors: &'e mut Vec<LoadError>,
}

/// Fields that Step Functions knows and that are not implemented here.
const NOT_IMPLEMENTED: [(&str, &str); 14] = [
    (
        "Assign",
        "variables are not implemented: pass values in the state's input",
    ),
    ("Arguments", "JSONata is not implemented: use `Parameters`"),
    (
        "Output",
        "JSONata is not implemented: use `ResultPath` and `OutputPath`",
    ),
    (
        "Condition",
        "JSONata is not implemented: use `Variable` and a comparison",
    ),
    ("Items", "JSONata is not implemented"),
    ("Credentials", "tasks in other accounts are not implemented"),
    ("Branches", "Parallel is not implemented"),
    ("Iterator", "Map is not implemented"),
    ("ItemProcessor", "Map is not implemented"),
    ("ItemReader", "Map is not implemented"),
    ("ItemSelector", "Map is not implemented"),
    ("ItemsPath", "Map is not implemented"),
    ("ResultWriter", "Map is not implemented"),
    ("MaxConcurrency", "Map is not implemented"),
];

impl<'d, 'e> Fields<'d, 'e> {
    /// `None`, and an error, when the value is not an object.
    pub fn new(path: &str, value: &'d Value, errors: &'e mut Vec<LoadError>) -> Option<Self> {
        match value.as_object() {
            Some(object) => Some(Self {
                path: path.to_owned(),
                object,
                known: Vec::new(),
                errors,
            }),
            None => {
                errors.push(LoadError {
                    path: path.to_owned(),
                    found: describe(value),
                    expected: "an object".to_owned(),
                    hint: None,
                });
                None
            }
        }
    }

    pub fn take(&mut self, name: &'static str) -> Option<&'d Value> {
        self.known.push(name);
        self.object.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The names of all fields, taken or not.
    pub fn names(&self) -> impl Iterator<Item = &'d String> + use<'d> {
        self.object.keys()
    }

    /// A field whose name is not fixed.
    pub fn get(&self, name: &str) -> Option<&'d Value> {
        self.object.get(name)
    }

    pub fn at(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub fn wrong(&mut self, name: &str, found: &Value, expected: &str) {
        self.report(name, describe(found), expected, None);
    }

    pub fn report(&mut self, name: &str, found: String, expected: &str, hint: Option<&str>) {
        let path = self.at(name);
        self.errors.push(LoadError {
            path,
            found,
            expected: expected.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }

    /// A field that must be there.
    pub fn required(&mut self, name: &'static str) -> Option<&'d Value> {
        let value = self.take(name);
        if value.is_none() {
            let path = self.path.clone();
            self.errors.push(LoadError {
                path,
                found: format!("no `{name}`"),
                expected: format!("the field `{name}`"),
                hint: None,
            });
        }
        value
    }

    pub fn required_string(&mut self, name: &'static str) -> Option<String> {
        let value = self.required(name)?;
        self.as_string(name, value)
    }

    pub fn string(&mut self, name: &'static str) -> Option<String> {
        let value = self.take(name)?;
        self.as_string(name, value)
    }

    fn as_string(&mut self, name: &str, value: &Value) -> Option<String> {
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(name, value, "a text");
        }
        text.map(str::to_owned)
    }

    pub fn comment(&mut self) {
        if let Some(comment) = self.take("Comment")
            && !comment.is_string()
        {
            self.wrong("Comment", comment, "a text");
        }
    }

    pub fn query_language(&mut self) {
        if let Some(language) = self.take("QueryLanguage")
            && language != "JSONPath"
        {
            let hint = Some("JSONata is not implemented: write paths");
            self.report("QueryLanguage", describe(language), "`JSONPath`", hint);
        }
    }

    pub fn whole_number(&mut self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64().filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.wrong(
                name,
                value,
                &format!("a whole number from {least} to {most}"),
            );
        }
        number
    }

    pub fn seconds(&mut self, name: &'static str, least: u64) -> Option<u64> {
        self.whole_number(name, least, SECONDS_MAX)
    }

    /// At most one of the fields may be there.
    pub fn at_most_one(&mut self, names: &[&str]) {
        let found: Vec<_> = names.iter().filter(|name| self.has(name)).collect();
        if found.len() > 1 {
            let path = self.path.clone();
            self.errors.push(LoadError {
                path,
                found: format!("`{}` and `{}`", found[0], found[1]),
                expected: format!("only one of {}", list(names)),
                hint: None,
            });
        }
    }

    /// Refuses every field that was not taken.
    pub fn finish(self) {
        self.finish_except("");
    }

    /// Refuses every field that was not taken, but one whose name is not fixed.
    pub fn finish_except(self, read: &str) {
        for name in self.object.keys() {
            if name == read || self.known.contains(&name.as_str()) {
                continue;
            }
            let hint = NOT_IMPLEMENTED
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, hint)| (*hint).to_owned());
            self.errors.push(LoadError {
                path: join(&self.path, name),
                found: "a field that is not known here".to_owned(),
                expected: format!("one of {}", list(&self.known)),
                hint,
            });
        }
    }
}

/// `$.States.Submit`, or `$.States['odd name']`.
pub(super) fn join(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) {
        format!("{path}.{name}")
    } else {
        format!("{path}['{}']", name.replace('\'', "\\'"))
    }
}

pub(super) fn describe(value: &Value) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 60;
    match value {
        Value::Array(items) if items.is_empty() => "an empty array".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => {
            let text = scalar.to_string();
            let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
            format!("`{shown}`")
        }
    }
}

pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
