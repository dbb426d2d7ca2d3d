//! Items as people keep them in files: a JSON array, a single object, JSON Lines or DynamoDB JSON, read to plain objects.

use crate::problem::{Found, Problem, shown};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Deepest nesting of an item; DynamoDB allows 32 levels.
const DEPTH_MAX: usize = 32;

/// Reads the items of a file. All mistakes of form are told at once, where the text can be read at all.
pub fn read_items(text: &str) -> Result<Vec<Value>, Vec<Problem>> {
    let twice = RefCell::new(Vec::new());
    let values = read_values(text, &twice).map_err(|problem| vec![*problem])?;
    let mut problems: Vec<Problem> = twice
        .into_inner()
        .into_iter()
        .map(|path| {
            Problem::fault("file", path, "is written twice in one object")
                .hint("keep one of the two: which of them was meant cannot be known")
        })
        .collect();
    let mut items = Vec::new();
    for item in unwrap_containers(values) {
        let place = place_of(&item, items.len());
        items.push(plain(item, &place, &mut problems));
    }
    if problems.is_empty() {
        Ok(items)
    } else {
        Err(problems)
    }
}

fn read_values(text: &str, twice: &RefCell<Vec<String>>) -> Result<Vec<Value>, Box<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    while deserializer.end().is_err() {
        let strict = Strict {
            path: String::new(),
            twice,
        };
        let value = strict
            .deserialize(&mut deserializer)
            .map_err(|error| Box::new(unreadable(&error)))?;
        values.push(value);
    }
    Ok(values)
}

/// Only the place is told: the message of the parser may quote a value.
fn unreadable(error: &serde_json::Error) -> Problem {
    let predicate = if error.is_eof() {
        "ends in the middle of a value"
    } else {
        "is not JSON"
    };
    Problem::fault(
        &format!("line {}, column {}", error.line(), error.column()),
        "file",
        predicate,
    )
    .hint("items are a JSON array, JSON Lines or DynamoDB JSON")
}

/// Reads a value and notes each key that an object holds twice, which serde_json would drop silently.
struct Strict<'a> {
    path: String,
    twice: &'a RefCell<Vec<String>>,
}

impl Strict<'_> {
    fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self {
            path,
            twice: self.twice,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self.child(&values.len().to_string()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let child = self.child(&name);
            let path = child.path.clone();
            let value = access.next_value_seed(child)?;
            if map.insert(name, value).is_some() {
                self.twice.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

/// Arrays, `{"Items": […]}` of a scan, `{"Item": …}` of an export and `{"PutRequest": …}` of a batch are opened.
fn unwrap_containers(values: Vec<Value>) -> Vec<Value> {
    let mut items = Vec::new();
    for value in values {
        match value {
            Value::Array(values) => items.extend(unwrap_containers(values)),
            Value::Object(mut map) => {
                let wrapped = match (map.get("Items"), map.get("Item"), map.get("PutRequest")) {
                    (Some(Value::Array(_)), _, _) => map.remove("Items"),
                    (_, Some(Value::Object(_)), _) => map.remove("Item"),
                    (_, _, Some(Value::Object(_))) => map.remove("PutRequest"),
                    _ => None,
                };
                match wrapped {
                    Some(wrapped) => items.extend(unwrap_containers(vec![wrapped])),
                    None => items.push(Value::Object(map)),
                }
            }
            other => items.push(other),
        }
    }
    items
}

/// How messages name an item: by its `config`, else by its place.
pub fn place_of(item: &Value, index: usize) -> String {
    let config = item.get("config");
    match config.and_then(|config| config.as_str().or_else(|| config.get("S")?.as_str())) {
        Some(config) => config.escape_debug().to_string(),
        None => format!("item {}", index + 1),
    }
}

/// An item of DynamoDB JSON as a plain object; a plain one as it is.
fn plain(item: Value, place: &str, problems: &mut Vec<Problem>) -> Value {
    let typed = |name: &str| item.get(name).is_some_and(|value| value.get("S").is_some());
    match item {
        Value::Object(map) if typed("identifier") || typed("config") => Value::Object(
            map.into_iter()
                .map(|(name, value)| {
                    let value = attribute(value, &name, 0, place, problems);
                    (name, value)
                })
                .collect(),
        ),
        other => other,
    }
}

/// One attribute value of DynamoDB JSON: `{"S": "text"}`, `{"N": "6"}`, `{"M": {…}}` …
fn attribute(
    value: Value,
    path: &str,
    depth: usize,
    place: &str,
    problems: &mut Vec<Problem>,
) -> Value {
    let wrong = |value: &Value, problems: &mut Vec<Problem>| {
        problems.push(
            Problem::new(
                place,
                path,
                Found::Value(shown(path, value)),
                "an attribute value of DynamoDB JSON",
            )
            .hint("for example `{\"S\": \"text\"}`; an item is either all typed or all plain"),
        );
        Value::Null
    };
    if depth > DEPTH_MAX {
        return wrong(&Value::Null, problems);
    }
    let Value::Object(map) = &value else {
        return wrong(&value, problems);
    };
    let mut entries = map.iter();
    let (Some((kind, inner)), None) = (entries.next(), entries.next()) else {
        return wrong(&value, problems);
    };
    match (kind.as_str(), inner) {
        ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) => inner.clone(),
        ("NULL", Value::Bool(true)) => Value::Null,
        ("N", Value::String(text)) => match text.parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => wrong(&value, problems),
        },
        ("M", Value::Object(map)) => Value::Object(
            map.iter()
                .map(|(name, value)| {
                    let below = format!("{path}.{name}");
                    let value = attribute(value.clone(), &below, depth + 1, place, problems);
                    (name.clone(), value)
                })
                .collect(),
        ),
        ("L", Value::Array(values)) => Value::Array(
            values
                .iter()
                .enumerate()
                .map(|(n, value)| {
                    let below = format!("{path}.{n}");
                    attribute(value.clone(), &below, depth + 1, place, problems)
                })
                .collect(),
        ),
        ("SS", Value::Array(values)) if values.iter().all(Value::is_string) => {
            Value::Array(values.clone())
        }
        _ => wrong(&value, problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_file_gives_the_same_item() {
        let item =
            json!({"identifier": "a", "config": "x", "n": 6, "on": true, "deep": {"l": ["s"]}});
        let typed = json!({"identifier": {"S": "a"}, "config": {"S": "x"}, "n": {"N": "6"}, "on": {"BOOL": true},
            "deep": {"M": {"l": {"L": [{"S": "s"}]}}}});
        for text in [
            item.to_string(),
            json!([item]).to_string(),
            typed.to_string(),
            json!({"Items": [typed], "Count": 1}).to_string(),
            json!({"Item": typed}).to_string(),
            json!([{"PutRequest": {"Item": typed}}]).to_string(),
            format!("\u{feff}{item}\n"),
        ] {
            assert_eq!(
                read_items(&text).unwrap(),
                std::slice::from_ref(&item),
                "{text}"
            );
        }
        let lines = format!("{item}\n{typed}\n\n");
        assert_eq!(read_items(&lines).unwrap(), [item.clone(), item]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, expected) in [
            (
                "[{\"a\": 1, \"a\": 2, \"b\": {\"c\": 1, \"c\": 1}}]",
                vec![
                    "file: `0.a` is written twice in one object",
                    "file: `0.b.c` is written twice in one object",
                ],
            ),
            (
                "[{\"a\": 1}",
                vec!["line 1, column 9: `file` ends in the middle of a value"],
            ),
            (
                "{\"secret\": hunter2}",
                vec!["line 1, column 12: `file` is not JSON"],
            ),
            (
                "{\"config\": {\"S\": \"k\"}, \"n\": {\"N\": \"six\"}, \"m\": 3}",
                vec![
                    "k: `m` must be an attribute value of DynamoDB JSON: 3",
                    "k: `n` must be an attribute value of DynamoDB JSON: {\"N\":\"six\"}",
                ],
            ),
        ] {
            let problems = read_items(text).unwrap_err();
            let mut first_lines: Vec<String> = problems
                .iter()
                .map(|problem| problem.to_string().lines().next().unwrap().to_owned())
                .collect();
            first_lines.sort();
            assert_eq!(first_lines, expected, "{text}");
        }
    }
}
