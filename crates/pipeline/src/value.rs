//! Attributes by type: each reader gives the value or notes what is wrong with it.

use crate::problem::{Found, Problem, nearest, shown};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The attributes of one object of an item.
pub struct Fields<'a> {
    pub key: &'a str,
    /// Dotted path of the object, with a dot at its end; empty for the item itself.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// Opens an object and notes each attribute that is not in `known`.
    pub fn open(
        key: &'a str,
        prefix: &str,
        map: &'a Map<String, Value>,
        known: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let fields = Self {
            key,
            prefix: prefix.to_owned(),
            map,
        };
        for name in map.keys() {
            if !known.contains(&name.as_str()) {
                problems.push(fields.unknown(name, known));
            }
        }
        fields
    }

    fn unknown(&self, name: &str, known: &[&str]) -> Problem {
        let problem = Problem::new(self.key, self.path(name), Found::Unknown, "");
        if self.prefix.is_empty() && name == "master" && known.contains(&"emr_config") {
            return problem.hint("it belongs in `emr_config`: `emr_config.master.instance_type`");
        }
        match nearest(name, known.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean `{}`?", self.path(near))),
            None => problem.hint(format!("known here: {}", list(known))),
        }
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}{}", self.prefix, name.escape_debug())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A value that is there; NULL counts as absent.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn wrong(&self, name: &str, value: &Value, expected: impl Into<String>) -> Problem {
        let path = self.path(name);
        let found = Found::Value(shown(&path, value));
        Problem::new(self.key, path, found, expected)
    }

    pub fn missing(&self, name: &str, expected: impl Into<String>) -> Problem {
        Problem::new(self.key, self.path(name), Found::Missing, expected)
    }

    /// Notes that an attribute is missing when it is.
    pub fn require(&self, name: &str, expected: &str, problems: &mut Vec<Problem>) {
        if !self.has(name) {
            problems.push(self.missing(name, expected));
        }
    }

    pub fn boolean(&self, name: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            value => {
                problems.push(self.wrong(name, value, "`true` or `false`"));
                None
            }
        }
    }

    pub fn integer(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
        problems: &mut Vec<Problem>,
    ) -> Option<u32> {
        let value = self.get(name)?;
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        match number.and_then(|number| u32::try_from(number).ok()) {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let expected = format!("an integer from {} to {}", range.start(), range.end());
                problems.push(self.wrong(name, value, expected));
                None
            }
        }
    }

    /// A text on one line, not empty.
    pub fn text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let value = self.get(name)?;
        text_of(self.key, &|| self.path(name), value, problems)
    }

    /// A text that may become an argument or a name: it does not begin with `-` either.
    pub fn name(&self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let text = self.text(name, problems)?;
        if text.starts_with('-') || text.trim() != text {
            problems.push(Problem::fault(
                self.key,
                self.path(name),
                "begins with `-`, or begins or ends with a blank",
            ));
            return None;
        }
        Some(text)
    }

    pub fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = choices
            .iter()
            .find(|(text, _)| value.as_str() == Some(text));
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
            let mut problem = self.wrong(name, value, format!("one of {}", list(&names)));
            if let Some(near) = value.as_str().and_then(|text| nearest(text, names)) {
                problem = problem.hint(format!("did you mean `{near}`?"));
            }
            problems.push(problem);
        }
        found.map(|(_, choice)| *choice)
    }

    /// An object below this one.
    pub fn object(
        &self,
        name: &str,
        known: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Option<Fields<'a>> {
        let map = self.map_of(name, problems)?;
        let prefix = format!("{}.", self.path(name));
        Some(Fields::open(self.key, &prefix, map, known, problems))
    }

    /// An object whose names are not fixed.
    pub fn map_of(
        &self,
        name: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<&'a Map<String, Value>> {
        match self.get(name)? {
            Value::Object(map) => Some(map),
            value => {
                problems.push(self.wrong(name, value, "an object"));
                None
            }
        }
    }

    /// Names and texts; numbers and booleans are taken as their text.
    pub fn texts_by_name(
        &self,
        name: &str,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, String> {
        let Some(map) = self.map_of(name, problems) else {
            return BTreeMap::new();
        };
        texts_of(self.key, &format!("{}.", self.path(name)), map, problems)
    }

    pub fn texts(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        match self.get(name)? {
            Value::Array(values) => Some(
                values
                    .iter()
                    .enumerate()
                    .filter_map(|(n, value)| {
                        let path = || format!("{}.{n}", self.path(name));
                        text_of(self.key, &path, value, problems)
                    })
                    .collect(),
            ),
            value => {
                problems.push(self.wrong(name, value, "a list of texts"));
                None
            }
        }
    }

    /// The value as it is, for attributes of more than one form.
    pub fn raw(&self, name: &str) -> Option<&'a Value> {
        self.get(name)
    }
}

/// The texts of an object whose names are not fixed.
pub fn texts_of(
    key: &str,
    prefix: &str,
    map: &Map<String, Value>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    map.iter()
        .filter_map(|(name, value)| {
            let path = || format!("{prefix}{}", name.escape_debug());
            if let Some(problem) = bad_name(key, &path, name) {
                problems.push(problem);
                return None;
            }
            let text = match value {
                Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
                value => text_of(key, &path, value, problems),
            };
            Some((name.clone(), text?))
        })
        .collect()
}

fn bad_name(key: &str, path: &dyn Fn() -> String, name: &str) -> Option<Problem> {
    let bad = name.is_empty()
        || name.starts_with('-')
        || name.contains('=')
        || name.contains(char::is_whitespace)
        || name.contains(char::is_control);
    bad.then(|| {
        Problem::fault(key, path(), "is not a name for an option").hint(
            "a name has no blanks, no `=`, no control characters, and does not begin with `-`",
        )
    })
}

/// The path is made only where something is wrong.
fn text_of(
    key: &str,
    path: &dyn Fn() -> String,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let Value::String(text) = value else {
        let found = Found::Value(shown(&path(), value));
        problems.push(Problem::new(key, path(), found, "a text"));
        return None;
    };
    if text.trim().is_empty() {
        problems.push(Problem::new(key, path(), Found::Empty, "a text"));
        return None;
    }
    if text.contains(char::is_control) {
        problems.push(
            Problem::fault(
                key,
                path(),
                "contains a line break, NUL or another control character",
            )
            .hint("write it on one line"),
        );
        return None;
    }
    Some(text.clone())
}

/// Names in backticks, as messages list them.
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
