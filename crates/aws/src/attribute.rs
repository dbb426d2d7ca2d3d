//! JSON values as DynamoDB attributes, and back. Pure.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// An item as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// An attribute that has no JSON form: its path with dots, and its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is {kind}, which has no JSON form")]
pub(crate) struct NoJson {
    pub path: String,
    pub kind: &'static str,
}

pub(crate) fn encode(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(encode).collect()),
        Value::Object(map) => AttributeValue::M(encode_map(map)),
    }
}

pub(crate) fn encode_map(map: &Map<String, Value>) -> Item {
    map.iter()
        .map(|(name, value)| (name.clone(), encode(value)))
        .collect()
}

pub(crate) fn decode(attribute: &AttributeValue, path: &str) -> Result<Value, NoJson> {
    let without = |kind| {
        Err(NoJson {
            path: path.to_owned(),
            kind,
        })
    };
    match attribute {
        AttributeValue::Null(_) => Ok(Value::Null),
        AttributeValue::Bool(value) => Ok(Value::Bool(*value)),
        AttributeValue::N(text) => number(text).map_or_else(|| without("a large number"), Ok),
        AttributeValue::S(text) => Ok(Value::String(text.clone())),
        AttributeValue::L(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| decode(value, &below(path, &at.to_string())))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        AttributeValue::M(map) => decode_map(map, path).map(Value::Object),
        AttributeValue::B(_) => without("binary"),
        AttributeValue::Bs(_) => without("a set of binary values"),
        AttributeValue::Ns(_) => without("a set of numbers"),
        AttributeValue::Ss(_) => without("a set of texts"),
        // The SDK's enum is open.
        _ => without("of a type that is not known"),
    }
}

/// Attributes below a path, in order of their names so that the first fault is always the same.
pub(crate) fn decode_map(item: &Item, path: &str) -> Result<Map<String, Value>, NoJson> {
    let mut names: Vec<&String> = item.keys().collect();
    names.sort();
    names
        .into_iter()
        .map(|name| Ok((name.clone(), decode(&item[name], &below(path, name))?)))
        .collect()
}

fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// DynamoDB keeps 38 digits and writes whole numbers without a point.
fn number(text: &str) -> Option<Value> {
    let number = match (text.parse::<u64>(), text.parse::<i64>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => Number::from_f64(text.parse().ok()?)?,
    };
    Some(Value::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::primitives::Blob;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(16, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_comes_back_as_it_was(value in json()) {
            prop_assert_eq!(decode(&encode(&value), ""), Ok(value));
        }
    }

    #[test]
    fn what_has_no_json_form_is_named() {
        let sets = |value: AttributeValue| {
            AttributeValue::M(Item::from([(
                "hudi_config".to_owned(),
                AttributeValue::L(vec![AttributeValue::Null(true), value]),
            )]))
        };
        for (attribute, kind) in [
            (AttributeValue::B(Blob::new("x")), "binary"),
            (AttributeValue::Ss(vec!["a".to_owned()]), "a set of texts"),
            (AttributeValue::Ns(vec!["1".to_owned()]), "a set of numbers"),
            (
                AttributeValue::Bs(vec![Blob::new("x")]),
                "a set of binary values",
            ),
            (AttributeValue::N("1e400".to_owned()), "a large number"),
        ] {
            let error = decode(&sets(attribute), "").expect_err("no JSON form");
            assert_eq!((error.path.as_str(), error.kind), ("hudi_config.1", kind));
        }
    }
}
