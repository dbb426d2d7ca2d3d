//! JSONPath as definitions use it: read once at load, then walked. What is not implemented is refused by name.

use crate::context::{FIELDS, Scope};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `$`: the input, or the result in a ResultSelector.
    Input,
    /// `$$`: the context object.
    Context,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Field(String),
    /// Negative counts from the end.
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>),
}

/// A path to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    root: Root,
    segments: Vec<Segment>,
}

/// Why a text is not a path that can be read here; completes the sentence "found …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path that does not begin with `$`: {0}")]
    NoRoot(String),
    #[error("a filter, `[?()]`, which is not implemented: {0}")]
    Filter(String),
    #[error("a recursive descent, `..`, which is not implemented: {0}")]
    Descent(String),
    #[error("a union, `[a,b]`, which is not implemented: {0}")]
    Union(String),
    #[error("a path function, which is not implemented: {0}")]
    Function(String),
    #[error("a slice with a step, which is not implemented: {0}")]
    SliceStep(String),
    #[error("the context field `{0}`, which does not exist or is not implemented")]
    ContextField(String),
    #[error("a broken path: {0}")]
    Broken(String),
}

impl Path {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let (root, mut rest) = if let Some(rest) = text.strip_prefix("$$") {
            (Root::Context, rest)
        } else if let Some(rest) = text.strip_prefix('$') {
            (Root::Input, rest)
        } else {
            return Err(PathError::NoRoot(text.to_owned()));
        };
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, after) = next_segment(text, rest)?;
            segments.push(segment);
            rest = after;
        }
        let path = Self {
            text: text.to_owned(),
            root,
            segments,
        };
        path.check_context()?;
        Ok(path)
    }

    pub fn root(&self) -> Root {
        self.root
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether the path names the whole of its root.
    pub fn is_whole(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether the path names one place: only fields and indices that are not negative.
    pub fn is_reference(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| matches!(segment, Segment::Field(_) | Segment::Index(0..)))
    }

    /// What the path finds. A path that may name several places finds an array. `None`: nothing is there.
    pub fn find<'v>(&self, scope: &Scope<'v>) -> Option<Cow<'v, Value>> {
        match self.root {
            Root::Input => walk(scope.input, &self.segments),
            Root::Context => scope.context.find(&self.segments),
        }
    }

    /// A misspelt context field would only show when the state runs.
    fn check_context(&self) -> Result<(), PathError> {
        if self.root == Root::Input {
            return Ok(());
        }
        let known = match self.segments.as_slice() {
            [] => true,
            [Segment::Field(object), rest @ ..] => {
                let fields = FIELDS.iter().find(|(name, _)| name == object);
                fields.is_some_and(|(_, fields)| match rest.first() {
                    None => true,
                    Some(Segment::Field(field)) => fields.contains(&field.as_str()),
                    Some(_) => false,
                })
            }
            _ => false,
        };
        if known {
            Ok(())
        } else {
            Err(PathError::ContextField(self.text.clone()))
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn next_segment<'t>(text: &str, rest: &'t str) -> Result<(Segment, &'t str), PathError> {
    if rest.starts_with("..") {
        Err(PathError::Descent(text.to_owned()))
    } else if let Some(after) = rest.strip_prefix(".*") {
        Ok((Segment::All, after))
    } else if let Some(after) = rest.strip_prefix('.') {
        bare_name(text, after)
    } else if let Some(after) = rest.strip_prefix("['").or(rest.strip_prefix("[\"")) {
        quoted_name(text, after, &rest[1..2])
    } else if let Some(after) = rest.strip_prefix('[') {
        bracket(text, after)
    } else {
        Err(PathError::Broken(text.to_owned()))
    }
}

fn bare_name<'t>(text: &str, rest: &'t str) -> Result<(Segment, &'t str), PathError> {
    let end = rest.find(['.', '[', '(']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if after.starts_with('(') {
        return Err(PathError::Function(text.to_owned()));
    }
    let plain = |c: char| c.is_alphanumeric() || "_-:@#/ ".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(PathError::Broken(text.to_owned()));
    }
    Ok((Segment::Field(name.to_owned()), after))
}

fn quoted_name<'t>(
    text: &str,
    rest: &'t str,
    quote: &str,
) -> Result<(Segment, &'t str), PathError> {
    let broken = || PathError::Broken(text.to_owned());
    let quote = quote.chars().next().ok_or_else(broken)?;
    let mut name = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            name.push(characters.next().ok_or_else(broken)?.1);
        } else if c == quote {
            let after = rest[at + c.len_utf8()..].trim_start();
            if after.starts_with(',') {
                return Err(PathError::Union(text.to_owned()));
            }
            let after = after.strip_prefix(']').ok_or_else(broken)?;
            return Ok((Segment::Field(name), after));
        } else {
            name.push(c);
        }
    }
    Err(broken())
}

fn bracket<'t>(text: &str, rest: &'t str) -> Result<(Segment, &'t str), PathError> {
    let broken = || PathError::Broken(text.to_owned());
    if rest.trim_start().starts_with('?') {
        return Err(PathError::Filter(text.to_owned()));
    }
    let (inside, after) = rest.split_once(']').ok_or_else(broken)?;
    let inside = inside.trim();
    if inside == "*" {
        return Ok((Segment::All, after));
    }
    if inside.contains(',') {
        return Err(PathError::Union(text.to_owned()));
    }
    let number = |digits: &str| match digits.trim() {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| broken()),
    };
    let segment = match inside.split(':').collect::<Vec<_>>().as_slice() {
        [index] => Segment::Index(number(index)?.ok_or_else(broken)?),
        [from, to] => Segment::Slice(number(from)?, number(to)?),
        _ => return Err(PathError::SliceStep(text.to_owned())),
    };
    Ok((segment, after))
}

/// Where the path so far names one place, a missing field means that nothing is found; beyond a wildcard it is passed over.
pub(crate) fn walk<'v>(value: &'v Value, segments: &[Segment]) -> Option<Cow<'v, Value>> {
    let mut value = value;
    for (at, segment) in segments.iter().enumerate() {
        value = match segment {
            Segment::Field(name) => value.get(name.as_str())?,
            Segment::Index(index) => at_index(value, *index)?,
            Segment::Slice(..) if !value.is_array() => return None,
            Segment::All | Segment::Slice(..) => {
                let mut found = Vec::new();
                collect(value, &segments[at..], &mut found);
                return Some(Cow::Owned(Value::Array(found)));
            }
        };
    }
    Some(Cow::Borrowed(value))
}

fn collect(value: &Value, segments: &[Segment], found: &mut Vec<Value>) {
    let Some((segment, rest)) = segments.split_first() else {
        found.push(value.clone());
        return;
    };
    match segment {
        Segment::Field(name) => value
            .get(name.as_str())
            .into_iter()
            .for_each(|v| collect(v, rest, found)),
        Segment::Index(index) => at_index(value, *index)
            .into_iter()
            .for_each(|v| collect(v, rest, found)),
        Segment::All => match value {
            Value::Array(items) => items.iter().for_each(|v| collect(v, rest, found)),
            Value::Object(fields) => fields.values().for_each(|v| collect(v, rest, found)),
            _ => {}
        },
        Segment::Slice(from, to) => {
            if let Value::Array(items) = value {
                let range = bounds(*from, *to, items.len());
                items[range].iter().for_each(|v| collect(v, rest, found));
            }
        }
    }
}

fn at_index(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let index = if index < 0 {
        items
            .len()
            .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    items.get(index)
}

fn bounds(from: Option<i64>, to: Option<i64>, length: usize) -> std::ops::Range<usize> {
    let place = |index: i64| {
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 {
            length.saturating_sub(distance)
        } else {
            distance.min(length)
        }
    };
    let start = from.map_or(0, place);
    start..to.map_or(length, place).max(start)
}

/// A path to write: one place, below `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePath(Path);

impl ReferencePath {
    /// `None` when the path may name several places, or names the context.
    pub fn new(path: Path) -> Option<Self> {
        (path.is_reference() && path.root() == Root::Input).then_some(Self(path))
    }

    pub fn is_whole(&self) -> bool {
        self.0.is_whole()
    }

    /// Puts `result` at the path in `target`; objects on the way are made. `None`: the target has no room there.
    pub fn write(&self, mut target: Value, result: Value) -> Option<Value> {
        let mut place = &mut target;
        for segment in self.0.segments() {
            place = match (segment, place) {
                (Segment::Field(name), Value::Object(fields)) => fields
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Object(serde_json::Map::new())),
                (Segment::Index(index), Value::Array(items)) => {
                    items.get_mut(usize::try_from(*index).ok()?)?
                }
                _ => return None,
            };
        }
        *place = result;
        Some(target)
    }
}

impl fmt::Display for ReferencePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_they_name() {
        let document = json!({
            "a": {"b": [10, 20, 30]}, "odd name": 1, "list": [{"x": 1}, {"y": 2}, {"x": 3}]
        });
        let cases = [
            ("$.a.b[1]", Some(json!(20))),
            ("$.a.b[-1]", Some(json!(30))),
            ("$['a']['b']", Some(json!([10, 20, 30]))),
            ("$['odd name']", Some(json!(1))),
            ("$.a.b[0:2]", Some(json!([10, 20]))),
            ("$.a.b[-2:]", Some(json!([20, 30]))),
            ("$.list[*].x", Some(json!([1, 3]))),
            ("$.a.*[0]", Some(json!([10]))),
            ("$.none", None),
            ("$.none[*]", None),
            ("$.a.b[3]", None),
            ("$.a[0:1]", None),
        ];
        for (text, expected) in cases {
            let path = Path::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                walk(&document, &path.segments).map(Cow::into_owned),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        let cases = [
            ("$..a", "recursive descent"),
            ("$.a[?(@.b > 1)]", "filter"),
            ("$.a[0,1]", "union"),
            ("$['a','b']", "union"),
            ("$.a.length()", "function"),
            ("$.a[0:9:2]", "step"),
            ("$$.Map.Item.Value", "context field"),
            ("$$.Execution.Nmae", "context field"),
            ("a.b", "begin with"),
            ("$.", "broken"),
            ("$a", "broken"),
            ("$.a[", "broken"),
        ];
        for (text, expected) in cases {
            let error = Path::parse(text).err().map(|e| e.to_string());
            assert!(
                error.as_ref().is_some_and(|e| e.contains(expected)),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn writing_makes_the_objects_on_the_way_and_nothing_else() {
        let write = |path: &str, target: Value| {
            ReferencePath::new(Path::parse(path).expect("a path"))
                .expect("a reference path")
                .write(target, json!(1))
        };
        assert_eq!(
            write("$.a.b", json!({"c": 2})),
            Some(json!({"a": {"b": 1}, "c": 2}))
        );
        assert_eq!(write("$", json!({"c": 2})), Some(json!(1)));
        assert_eq!(
            write("$.a[1]", json!({"a": [0, 0]})),
            Some(json!({"a": [0, 1]}))
        );
        assert_eq!(write("$.a[2]", json!({"a": [0, 0]})), None);
        assert_eq!(write("$.a", json!("text")), None);
        assert_eq!(write("$.a.b", json!({"a": 3})), None);
    }
}
