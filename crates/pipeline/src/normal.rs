//! The normal form of items: sorted, each number and boolean spelt in one way. Equal configuration has equal bytes.

use crate::problem::shown;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// `config` of the item that `import` writes last: the digest of all others.
pub const GENERATION_KEY: &str = "generation::config";

/// Attributes that are integers, with dots.
const INTEGERS: [&str; 10] = [
    "capture_silent_minutes",
    "clock_skew_minutes",
    "timeout_minutes",
    "emr_config.step_parallelism",
    "emr_config.idle_timeout_minutes",
    "emr_config.worker.count",
    "emr_config.worker.spot_percent",
    "emr_config.managed_scaling.minimum",
    "emr_config.managed_scaling.maximum",
    "schema_version",
];
/// Attributes that are booleans, with dots.
pub const BOOLEANS: [&str; 5] = [
    "enabled",
    "allowed_concurrent",
    "next_pipeline.enabled",
    "emr_config.maximize_resource_allocation",
    "hudi_config.is_partitioned",
];

/// Items in order of identifier and key, names sorted, numbers and booleans typed.
pub fn normalise<'a>(items: impl IntoIterator<Item = &'a Value>) -> Vec<Value> {
    // Making a value of a value cannot fail.
    let value = |item| serde_json::to_value(item).unwrap_or_default();
    in_order(items).iter().map(value).collect()
}

fn in_order<'a>(items: impl IntoIterator<Item = &'a Value>) -> Vec<Normal<'a>> {
    let mut items: Vec<Normal> = items.into_iter().map(Normal::item).collect();
    let text = |item: &Normal| serde_json::to_string(item).unwrap_or_default();
    items.sort_by(|left, right| {
        let by_key = key_of(left.value).cmp(&key_of(right.value));
        by_key.then_with(|| text(left).cmp(&text(right)))
    });
    items
}

fn key_of(item: &Value) -> (&str, &str) {
    (text(item, "identifier"), text(item, "config"))
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An item, or a value in one, that is written in its normal form.
struct Normal<'a> {
    value: &'a Value,
    /// Dotted path of the object that it is in, with a dot at its end.
    prefix: &'a str,
    /// Empty for the item itself.
    name: &'a str,
}

impl<'a> Normal<'a> {
    fn item(value: &'a Value) -> Self {
        Self {
            value,
            prefix: "",
            name: "",
        }
    }
}

impl Serialize for Normal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            value,
            prefix,
            name,
        } = *self;
        match value {
            Value::Object(map) => {
                let below = match name {
                    "" => String::new(),
                    name => format!("{prefix}{name}."),
                };
                let there = map.iter().filter(|(_, value)| !value.is_null());
                let mut entries: Vec<(&String, Normal)> = there
                    .map(|(name, value)| {
                        let prefix = below.as_str();
                        (
                            name,
                            Normal {
                                value,
                                prefix,
                                name,
                            },
                        )
                    })
                    .collect();
                entries.sort_by_key(|(name, _)| *name);
                serializer.collect_map(entries)
            }
            Value::Array(values) => {
                serializer.collect_seq(values.iter().map(|value| Normal { value, ..*self }))
            }
            Value::String(text) => match typed(text, prefix, name) {
                Some(value) => value.serialize(serializer),
                None => serializer.serialize_str(text),
            },
            other => other.serialize(serializer),
        }
    }
}

/// The boolean or integer that a text spells, where the attribute is one.
fn typed(text: &str, prefix: &str, name: &str) -> Option<Value> {
    let is_one_of = |paths: &[&str]| {
        paths
            .iter()
            .any(|path| path.strip_prefix(prefix) == Some(name))
    };
    match text {
        "true" | "false" => is_one_of(&BOOLEANS).then_some(Value::Bool(text == "true")),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let number = digits.parse::<u32>().ok()?;
            is_one_of(&INTEGERS).then(|| Value::from(number))
        }
        _ => None,
    }
}

/// The file form of items: normalised, indented, with a line break at the end.
pub fn print(items: &[Value]) -> String {
    let mut text = serde_json::to_string_pretty(&normalise(items)).unwrap_or_default();
    text.push('\n');
    text
}

/// The digest of one identifier's items, the generation item itself left out.
pub fn generation<'a>(items: impl IntoIterator<Item = &'a Value>) -> String {
    let others = items
        .into_iter()
        .filter(|item| text(item, "config") != GENERATION_KEY);
    let bytes = serde_json::to_vec(&in_order(others)).unwrap_or_default();
    sha256(&bytes)
}

/// The digest that the generation item states, if there is one.
pub fn declared_generation(items: &[Value]) -> Option<String> {
    let item = items
        .iter()
        .find(|item| text(item, "config") == GENERATION_KEY)?;
    Some(text(item, "generation").to_owned())
}

/// Whether the items are those that their generation item states, where there is one: an import writes it last.
pub fn is_one_generation(items: &[Value]) -> bool {
    declared_generation(items).is_none_or(|declared| declared == generation(items))
}

/// The item that states the digest of the others.
pub fn generation_item(identifier: &str, items: &[Value]) -> Value {
    serde_json::json!({
        "identifier": identifier,
        "config": GENERATION_KEY,
        "generation": generation(items),
    })
}

/// 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One difference between two sets of items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Difference {
    /// An item is new; its attributes as JSON, by dotted path.
    Added {
        identifier: String,
        key: String,
        attributes: BTreeMap<String, String>,
    },
    Removed {
        identifier: String,
        key: String,
        attributes: BTreeMap<String, String>,
    },
    /// An attribute differs; `None` where it is absent.
    Changed {
        identifier: String,
        key: String,
        path: String,
        before: Option<String>,
        after: Option<String>,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let absent = "absent".to_owned();
        match self {
            Self::Added {
                identifier, key, ..
            } => write!(f, "+ {identifier} {key}"),
            Self::Removed {
                identifier, key, ..
            } => write!(f, "- {identifier} {key}"),
            Self::Changed {
                identifier,
                key,
                path,
                before,
                after,
            } => {
                let before = before.as_ref().unwrap_or(&absent);
                let after = after.as_ref().unwrap_or(&absent);
                write!(f, "~ {identifier} {key}: `{path}`: {before} -> {after}")
            }
        }
    }
}

/// What changes when `before` becomes `after`, in order of identifier, key and path. Generation items do not count.
pub fn diff(before: &[Value], after: &[Value]) -> Vec<Difference> {
    let (before, after) = (by_key(before), by_key(after));
    let mut keys: Vec<&(String, String)> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut differences = Vec::new();
    for key in keys {
        let (identifier, config) = (key.0.clone(), key.1.clone());
        match (before.get(key), after.get(key)) {
            (None, Some(new)) => differences.push(Difference::Added {
                identifier,
                key: config,
                attributes: attributes(new),
            }),
            (Some(old), None) => differences.push(Difference::Removed {
                identifier,
                key: config,
                attributes: attributes(old),
            }),
            (Some(old), Some(new)) => changed(&identifier, &config, old, new, &mut differences),
            (None, None) => {}
        }
    }
    differences
}

fn by_key(items: &[Value]) -> BTreeMap<(String, String), BTreeMap<String, Value>> {
    normalise(items)
        .iter()
        .filter(|item| text(item, "config") != GENERATION_KEY)
        .map(|item| {
            let mut leaves = BTreeMap::new();
            flatten(item, "", &mut leaves);
            let (identifier, config) = key_of(item);
            ((identifier.to_owned(), config.to_owned()), leaves)
        })
        .collect()
}

/// What an item says, beside its key.
fn attributes(leaves: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    leaves
        .iter()
        .filter(|(path, _)| !["identifier", "config"].contains(&path.as_str()))
        .map(|(path, value)| (path.clone(), shown_name(path, value)))
        .collect()
}

/// All values that are no objects, by their dotted path.
fn flatten(value: &Value, path: &str, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(value, &below, leaves);
            }
        }
        other => {
            leaves.insert(path.to_owned(), other.clone());
        }
    }
}

fn changed(
    identifier: &str,
    key: &str,
    old: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
    differences: &mut Vec<Difference>,
) {
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
    {
        let shown_in = |leaves: &BTreeMap<String, Value>| {
            leaves.get(path).map(|value| shown_name(path, value))
        };
        differences.push(Difference::Changed {
            identifier: identifier.to_owned(),
            key: key.to_owned(),
            path: path.clone(),
            before: shown_in(old),
            after: shown_in(new),
        });
    }
}

/// The secret's attribute is a name when the item is right, so it may be shown.
fn shown_name(path: &str, value: &Value) -> String {
    match path {
        "secret" => value.to_string(),
        path => shown(path, value),
    }
}
