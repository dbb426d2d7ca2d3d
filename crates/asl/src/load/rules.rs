//! The rules of a Choice.

use super::LoadError;
use super::fields::{Fields, list};
use crate::choice::{Kind, Operand, Relation, Rule, Test, TypeTest};
use crate::machine::Choice;
use crate::moment::Moment;
use serde_json::Value;

/// Rules nested deeper are refused, so that no definition can exhaust the stack.
const DEPTH_MAX: usize = 32;

pub(super) fn choice(fields: &mut Fields<'_, '_>) -> Option<Choice> {
    let default = fields.string("Default");
    let choices = fields.required("Choices")?;
    let Some(choices) = choices.as_array().filter(|rules| !rules.is_empty()) else {
        fields.wrong("Choices", choices, "an array with at least one rule");
        return None;
    };
    let path = fields.at("Choices");
    let rules: Vec<_> = choices
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let mut rule = Fields::new(&format!("{path}[{at}]"), value, fields.errors)?;
            let next = rule.required_string("Next");
            Some((self::rule(rule, 0)?, next?))
        })
        .collect();
    let rules = rules.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Choice { rules, default })
}

fn rule(mut fields: Fields<'_, '_>, depth: usize) -> Option<Rule> {
    fields.comment();
    if depth > DEPTH_MAX {
        fields.report(
            "",
            "rules too deeply nested".to_owned(),
            "a simpler rule",
            None,
        );
        return None;
    }
    let operators: Vec<&String> = fields.names().filter(|name| is_operator(name)).collect();
    let [operator] = operators.as_slice() else {
        let names: Vec<&str> = fields.names().map(String::as_str).collect();
        let found = format!("{} in {}", operators.len(), list(&names));
        let hint = Some("one comparison such as `StringEquals`, or one of `And`, `Or`, `Not`");
        let path = fields.path.clone();
        fields.errors.push(LoadError {
            path,
            found,
            expected: "exactly one comparison".to_owned(),
            hint: hint.map(str::to_owned),
        });
        fields.take("Variable");
        return None;
    };
    let operator = operator.as_str();
    match operator {
        "And" => many(fields, "And", depth).map(Rule::And),
        "Or" => many(fields, "Or", depth).map(Rule::Or),
        "Not" => {
            let value = fields.take("Not")?;
            let path = fields.at("Not");
            let inner = Fields::new(&path, value, fields.errors).and_then(|f| rule(f, depth + 1));
            fields.finish();
            inner.map(|rule| Rule::Not(Box::new(rule)))
        }
        _ => data_test(fields, operator),
    }
}

fn many(mut fields: Fields<'_, '_>, name: &'static str, depth: usize) -> Option<Vec<Rule>> {
    let value = fields.take(name)?;
    let rules = value.as_array().filter(|rules| !rules.is_empty());
    let Some(rules) = rules else {
        fields.wrong(name, value, "an array with at least one rule");
        return None;
    };
    let path = fields.at(name);
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let inner = Fields::new(&format!("{path}[{at}]"), value, fields.errors)?;
            rule(inner, depth + 1)
        })
        .collect();
    fields.finish();
    rules.into_iter().collect()
}

fn data_test(mut fields: Fields<'_, '_>, operator: &str) -> Option<Rule> {
    let has_variable = fields.required("Variable").is_some();
    let variable = if has_variable {
        fields.path("Variable")
    } else {
        None
    };
    let value = fields.get(operator)?;
    let test = test(&mut fields, operator, value);
    fields.finish_except(operator);
    Some(Rule::Test {
        variable: variable?,
        test: test?,
    })
}

fn test(fields: &mut Fields<'_, '_>, operator: &str, value: &Value) -> Option<Test> {
    if operator == "StringMatches" {
        let pattern = value.as_str().map(str::to_owned);
        if pattern.is_none() {
            fields.wrong(operator, value, "a text");
        }
        return pattern.map(Test::Matches);
    }
    if let Some(name) = operator.strip_prefix("Is") {
        let Some(expected) = value.as_bool() else {
            fields.wrong(operator, value, "`true` or `false`");
            return None;
        };
        return Some(match type_test(name) {
            Some(kind) => Test::Is { kind, expected },
            None => Test::IsPresent(expected),
        });
    }
    let (kind, relation, is_path) = comparison(operator)?;
    let operand = if is_path {
        Operand::Path(fields.as_path(operator, value)?)
    } else if literal_fits(kind, value) {
        Operand::Literal(value.clone())
    } else {
        fields.wrong(operator, value, literal_form(kind));
        return None;
    };
    Some(Test::Compare {
        kind,
        relation,
        operand,
    })
}

fn is_operator(name: &str) -> bool {
    matches!(name, "And" | "Or" | "Not" | "StringMatches" | "IsPresent")
        || comparison(name).is_some()
        || name.strip_prefix("Is").and_then(type_test).is_some()
}

fn type_test(name: &str) -> Option<TypeTest> {
    Some(match name {
        "Null" => TypeTest::Null,
        "Numeric" => TypeTest::Numeric,
        "String" => TypeTest::String,
        "Boolean" => TypeTest::Boolean,
        "Timestamp" => TypeTest::Timestamp,
        _ => return None,
    })
}

/// `StringLessThanEqualsPath` and its like: what is compared, how, and whether with a path.
fn comparison(name: &str) -> Option<(Kind, Relation, bool)> {
    let (name, is_path) = match name.strip_suffix("Path") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (kind, relation) = [
        ("String", Kind::String),
        ("Numeric", Kind::Numeric),
        ("Boolean", Kind::Boolean),
        ("Timestamp", Kind::Timestamp),
    ]
    .into_iter()
    .find_map(|(prefix, kind)| Some((kind, name.strip_prefix(prefix)?)))?;
    let relation = match relation {
        "Equals" => Relation::Equals,
        "LessThan" if kind != Kind::Boolean => Relation::LessThan,
        "GreaterThan" if kind != Kind::Boolean => Relation::GreaterThan,
        "LessThanEquals" if kind != Kind::Boolean => Relation::LessThanEquals,
        "GreaterThanEquals" if kind != Kind::Boolean => Relation::GreaterThanEquals,
        _ => return None,
    };
    Some((kind, relation, is_path))
}

fn literal_fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::String => value.is_string(),
        Kind::Numeric => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Timestamp => value.as_str().and_then(Moment::parse).is_some(),
    }
}

fn literal_form(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a text",
        Kind::Numeric => "a number",
        Kind::Boolean => "`true` or `false`",
        Kind::Timestamp => "a timestamp such as `2026-01-31T12:00:00Z`",
    }
}
