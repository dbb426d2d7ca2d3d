//! Choice rules: data tests joined by And, Or and Not.

use crate::context::Scope;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::path::Path;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    And(Vec<Rule>),
    Or(Vec<Rule>),
    Not(Box<Rule>),
    Test { variable: Path, test: Test },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Compare {
        kind: Kind,
        relation: Relation,
        operand: Operand,
    },
    Matches(String),
    IsPresent(bool),
    Is {
        kind: TypeTest,
        expected: bool,
    },
}

/// What both sides of a comparison must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Numeric,
    Boolean,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Equals,
    LessThan,
    GreaterThan,
    LessThanEquals,
    GreaterThanEquals,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Literal(Value),
    Path(Path),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeTest {
    Null,
    Numeric,
    String,
    Boolean,
    Timestamp,
}

impl Rule {
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        match self {
            Self::And(rules) => {
                for rule in rules {
                    if !rule.holds(scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(rules) => {
                for rule in rules {
                    if rule.holds(scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(rule) => rule.holds(scope).map(|holds| !holds),
            Self::Test { variable, test } => test.holds(variable, scope),
        }
    }
}

impl Test {
    fn holds(&self, variable: &Path, scope: &Scope<'_>) -> Result<bool, Fault> {
        if let Self::IsPresent(expected) = self {
            return Ok(variable.find(scope).is_some() == *expected);
        }
        let value = find(variable, scope)?;
        Ok(match self {
            Self::Compare {
                kind,
                relation,
                operand,
            } => {
                let other = match operand {
                    Operand::Literal(literal) => Cow::Borrowed(literal),
                    Operand::Path(path) => find(path, scope)?,
                };
                kind.compare(&value, &other)
                    .is_some_and(|ordering| relation.accepts(ordering))
            }
            Self::Matches(pattern) => value.as_str().is_some_and(|text| matches(text, pattern)),
            Self::Is { kind, expected } => kind.holds(&value) == *expected,
            Self::IsPresent(_) => false,
        })
    }
}

/// Only `IsPresent` may ask for what is not there: everything else fails the execution.
fn find<'v>(path: &Path, scope: &Scope<'v>) -> Result<Cow<'v, Value>, Fault> {
    path.find(scope).ok_or_else(|| {
        Fault::runtime(format!(
            "invalid path `{path}`: the choice state's condition path references an invalid value"
        ))
    })
}

impl Kind {
    /// `None` when either side is of another type: then no comparison holds.
    fn compare(self, left: &Value, right: &Value) -> Option<Ordering> {
        match self {
            Self::String => Some(left.as_str()?.cmp(right.as_str()?)),
            Self::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
            Self::Timestamp => {
                Some(Moment::parse(left.as_str()?)?.cmp(&Moment::parse(right.as_str()?)?))
            }
            Self::Numeric => match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
            },
        }
    }
}

impl Relation {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Equals => ordering.is_eq(),
            Self::LessThan => ordering.is_lt(),
            Self::GreaterThan => ordering.is_gt(),
            Self::LessThanEquals => ordering.is_le(),
            Self::GreaterThanEquals => ordering.is_ge(),
        }
    }
}

impl TypeTest {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Numeric => value.is_number(),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Timestamp => value.as_str().and_then(Moment::parse).is_some(),
        }
    }
}

/// `*` stands for any characters, `\*` and `\\` for themselves.
fn matches(text: &str, pattern: &str) -> bool {
    let mut pieces = vec![String::new()];
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '*' => pieces.push(String::new()),
            c => {
                let literal = if c == '\\' {
                    characters.next().unwrap_or(c)
                } else {
                    c
                };
                pieces
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|piece| piece.push(literal));
            }
        }
    }
    let [first, middle @ .., last] = pieces.as_slice() else {
        return pieces.concat() == text;
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for piece in middle {
        match rest.find(piece.as_str()) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("log-*.txt", "log-1.txt", true),
            ("log-*.txt", "xlog-1.txt", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("*b*c", "abbcc", true),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
            (r"a\\*", r"a\bc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(text, pattern), expected, "{pattern} on {text}");
        }
    }
}
