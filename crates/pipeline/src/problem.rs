//! A mistake in configuration: where it is, what was found, what belongs there, and what to do.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One mistake. Text is made by `Display`, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The identifier of the item; empty where there is none.
    pub identifier: String,
    /// The `config` of the item, or its place in the file.
    pub key: String,
    /// The attribute, with dots; empty when the whole item is meant.
    pub path: String,
    pub found: Found,
    /// What belongs there, as a phrase; empty where `found` says it all.
    pub expected: String,
    pub hint: Option<String>,
}

/// What was found in the place of what was expected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    Missing,
    Empty,
    Unknown,
    /// The value as JSON; never that of a secret.
    Value(String),
    /// What is wrong with it, as a predicate: `is written twice`.
    Fault(String),
}

impl Problem {
    /// A mistake that needs a sentence of its own.
    pub fn fault(key: &str, path: impl Into<String>, predicate: impl Into<String>) -> Self {
        Self::new(key, path, Found::Fault(predicate.into()), "")
    }

    pub fn new(
        key: &str,
        path: impl Into<String>,
        found: Found,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            identifier: String::new(),
            key: key.to_owned(),
            path: path.into(),
            found,
            expected: expected.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn of(mut self, identifier: &str) -> Self {
        identifier.clone_into(&mut self.identifier);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        match self.path.as_str() {
            "" => f.write_str("the item")?,
            path => write!(f, "`{path}`")?,
        }
        match &self.found {
            Found::Missing => f.write_str(" is missing")?,
            Found::Empty => f.write_str(" is empty")?,
            Found::Unknown => f.write_str(" is not a known attribute")?,
            Found::Fault(predicate) => write!(f, " {predicate}")?,
            Found::Value(value) => write!(f, " must be {}: {value}", self.expected)?,
        }
        if let (Found::Missing | Found::Empty, false) = (&self.found, self.expected.is_empty()) {
            write!(f, ", expected {}", self.expected)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Longest text of a value in a message.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// A value as a message may show it: shortened, and hidden where it may be a secret.
pub fn shown(path: &str, value: &Value) -> String {
    if may_be_secret(path, value) {
        return "(not shown)".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether a value may hold a credential, by its path or by its look.
pub fn may_be_secret(path: &str, value: &Value) -> bool {
    const WORDS: [&str; 8] = [
        "password",
        "passwd",
        "pwd",
        "secret",
        "token",
        "credential",
        "private",
        "url",
    ];
    let speaks = |text: &str| {
        let text = text.to_ascii_lowercase();
        WORDS[..7].iter().any(|word| text.contains(word)) || text.contains("access_key")
    };
    let path = path.to_ascii_lowercase();
    if WORDS.iter().any(|word| path.contains(word)) || path.contains("access.key") {
        return true;
    }
    match value {
        Value::String(text) => speaks(text),
        Value::Array(values) => values.iter().any(|value| may_be_secret("", value)),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| may_be_secret(name, value) || speaks(name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The candidate that a misspelt name was likely meant to be.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two names.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let change = above[j] + usize::from(a != b);
            let mut best = change.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                let swapped: &Vec<usize> = &before;
                best = best.min(swapped[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_names_place_value_and_remedy() {
        let problem = Problem::new(
            "step::system::public.orders",
            "hudi_config.primary_key",
            Found::Empty,
            "",
        )
        .hint("name at least one column");
        assert_eq!(
            problem.to_string(),
            "step::system::public.orders: `hudi_config.primary_key` is empty\nhint: name at least one column"
        );
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (path, value) in [
            ("secret", json!("hunter2")),
            ("spark_jdbc_config.password", json!("hunter2")),
            (
                "spark_jdbc_config.url",
                json!("jdbc:postgresql://h/d?user=a"),
            ),
            ("entrypoint", json!(["a.py", "--password=hunter2"])),
            ("anything", json!({"db_password": "hunter2"})),
        ] {
            assert_eq!(shown(path, &value), "(not shown)", "{path}");
        }
        assert_eq!(shown("enabled", &json!("yes")), "\"yes\"");
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = ["count", "instance_type", "enabled"];
        assert_eq!(nearest("cuont", names), Some("count"));
        assert_eq!(nearest("instancetype", names), Some("instance_type"));
        assert_eq!(nearest("zebra", names), None);
    }
}
