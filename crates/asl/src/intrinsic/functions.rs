//! What each intrinsic function computes.

use super::Function;
use crate::fault::Fault;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// `States.ArrayRange` and `States.ArrayPartition` make at most so many items.
const RANGE_ITEMS_MAX: i64 = 1000;

type Arguments<'a> = [Cow<'a, Value>];

/// The number of arguments was checked when the definition was loaded.
pub(super) fn apply(function: Function, arguments: &Arguments<'_>) -> Result<Value, Fault> {
    match function {
        Function::Format => format(arguments),
        Function::StringToJson => serde_json::from_str(string(arguments, 0)?)
            .map_err(|error| Fault::intrinsic(format!("States.StringToJson: not JSON: {error}"))),
        Function::JsonToString => Ok(Value::String(value(arguments, 0)?.to_string())),
        Function::Array => Ok(arguments.iter().map(|a| a.as_ref().clone()).collect()),
        Function::ArrayContains => Ok(array(arguments, 0)?.contains(value(arguments, 1)?).into()),
        Function::ArrayGetItem => get_item(arguments),
        Function::ArrayLength => Ok(array(arguments, 0)?.len().into()),
        Function::ArrayPartition => partition(arguments),
        Function::ArrayRange => range(arguments),
        Function::ArrayUnique => unique(arguments),
        Function::JsonMerge => merge(arguments),
        Function::MathAdd => integer(arguments, 0)?
            .checked_add(integer(arguments, 1)?)
            .map(Value::from)
            .ok_or_else(|| Fault::intrinsic("States.MathAdd: the sum is out of range")),
        Function::StringSplit => split(arguments),
    }
}

fn value<'a>(arguments: &'a Arguments<'_>, at: usize) -> Result<&'a Value, Fault> {
    arguments
        .get(at)
        .map(AsRef::as_ref)
        .ok_or_else(|| Fault::intrinsic("an argument is missing"))
}

fn string<'a>(arguments: &'a Arguments<'_>, at: usize) -> Result<&'a str, Fault> {
    value(arguments, at)?
        .as_str()
        .ok_or_else(|| expected("a string", at))
}

fn array<'a>(arguments: &'a Arguments<'_>, at: usize) -> Result<&'a Vec<Value>, Fault> {
    value(arguments, at)?
        .as_array()
        .ok_or_else(|| expected("an array", at))
}

fn object<'a>(arguments: &'a Arguments<'_>, at: usize) -> Result<&'a Map<String, Value>, Fault> {
    value(arguments, at)?
        .as_object()
        .ok_or_else(|| expected("an object", at))
}

fn integer(arguments: &Arguments<'_>, at: usize) -> Result<i64, Fault> {
    value(arguments, at)?
        .as_i64()
        .ok_or_else(|| expected("a whole number", at))
}

fn expected(what: &str, at: usize) -> Fault {
    Fault::intrinsic(format!(
        "argument {} of an intrinsic function is not {what}",
        at + 1
    ))
}

/// Each `{}` takes the next argument; `\{`, `\}`, `\'` and `\\` stand for themselves.
fn format(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let template = string(arguments, 0)?;
    let mut rest = arguments[1..].iter();
    let mut text = String::with_capacity(template.len());
    let mut characters = template.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.push(characters.next().unwrap_or(c)),
            '{' if characters.peek() == Some(&'}') => {
                characters.next();
                let value = rest.next().ok_or_else(wrong_placeholders)?;
                match value.as_ref() {
                    Value::String(value) => text.push_str(value),
                    other => text.push_str(&other.to_string()),
                }
            }
            c => text.push(c),
        }
    }
    if rest.next().is_some() {
        return Err(wrong_placeholders());
    }
    Ok(Value::String(text))
}

fn wrong_placeholders() -> Fault {
    Fault::intrinsic("States.Format: placeholders and arguments differ in number")
}

fn get_item(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let index = integer(arguments, 1)?;
    usize::try_from(index)
        .ok()
        .and_then(|index| {
            array(arguments, 0)
                .map(|items| items.get(index))
                .transpose()
        })
        .transpose()?
        .cloned()
        .ok_or_else(|| Fault::intrinsic(format!("States.ArrayGetItem: no item {index}")))
}

fn partition(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let size = usize::try_from(integer(arguments, 1)?)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| expected("a number above 0", 1))?;
    Ok(array(arguments, 0)?
        .chunks(size)
        .map(|chunk| Value::Array(chunk.to_vec()))
        .collect())
}

fn range(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let (first, last) = (integer(arguments, 0)?, integer(arguments, 1)?);
    let step = integer(arguments, 2)?;
    if step == 0 {
        return Err(Fault::intrinsic("States.ArrayRange: the step is 0"));
    }
    let beyond = |n: i64| if step > 0 { n > last } else { n < last };
    let mut items = Vec::new();
    let mut next = Some(first);
    while let Some(n) = next.filter(|n| !beyond(*n)) {
        if i64::try_from(items.len()).unwrap_or(i64::MAX) == RANGE_ITEMS_MAX {
            return Err(Fault::intrinsic("States.ArrayRange: more than 1000 items"));
        }
        items.push(Value::from(n));
        next = n.checked_add(step);
    }
    Ok(Value::Array(items))
}

fn unique(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let mut kept: Vec<Value> = Vec::new();
    for item in array(arguments, 0)? {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    Ok(Value::Array(kept))
}

/// Only the shallow merge exists, in the service too.
fn merge(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    if value(arguments, 2)? != &Value::Bool(false) {
        return Err(Fault::intrinsic(
            "States.JsonMerge: only the shallow merge exists: the third argument is `false`",
        ));
    }
    let mut merged = object(arguments, 0)?.clone();
    merged.extend(object(arguments, 1)?.clone());
    Ok(Value::Object(merged))
}

/// Any of the characters of the second argument separates; empty parts are dropped.
fn split(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let separators = string(arguments, 1)?;
    Ok(string(arguments, 0)?
        .split(|c| separators.contains(c))
        .filter(|part| !part.is_empty())
        .map(Value::from)
        .collect())
}
