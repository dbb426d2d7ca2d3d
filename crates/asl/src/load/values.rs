//! The forms of value that several states share: paths, templates, seconds, transitions.

use super::LoadError;
use super::fields::{Fields, describe, join};
use crate::intrinsic::Call;
use crate::machine::{Filter, ResultPath, Seconds, Text, Transition};
use crate::path::{Path, ReferencePath};
use crate::template::Template;
use serde_json::Value;

const PATH: &str = "a path such as `$.a.b`";
const REFERENCE: &str = "a path to one place, such as `$.a.b`";

impl Fields<'_, '_> {
    /// A path below `$` or `$$`.
    pub fn path(&mut self, name: &'static str) -> Option<Path> {
        let value = self.take(name)?;
        self.as_path(name, value)
    }

    pub fn as_path(&mut self, name: &str, value: &Value) -> Option<Path> {
        let Some(text) = value.as_str() else {
            self.wrong(name, value, PATH);
            return None;
        };
        match Path::parse(text) {
            Ok(path) => Some(path),
            Err(error) => {
                self.report(name, error.to_string(), PATH, None);
                None
            }
        }
    }

    /// A path that names one place, for a value that is read.
    pub fn reference(&mut self, name: &'static str) -> Option<Path> {
        let path = self.path(name)?;
        if path.is_reference() {
            return Some(path);
        }
        self.report(name, format!("`{path}`"), REFERENCE, None);
        None
    }

    /// InputPath or OutputPath.
    pub fn filter(&mut self, name: &'static str) -> Filter {
        match self.take(name) {
            None => Filter::Whole,
            Some(Value::Null) => Filter::Nothing,
            Some(value) => match self.as_path(name, value) {
                Some(path) if path.is_whole() && path.root() == crate::path::Root::Input => {
                    Filter::Whole
                }
                Some(path) => Filter::Path(path),
                None => Filter::Whole,
            },
        }
    }

    pub fn result_path(&mut self) -> Option<ResultPath> {
        let Some(value) = self.take("ResultPath") else {
            let whole = ReferencePath::new(Path::parse("$").ok()?)?;
            return Some(ResultPath::To(whole));
        };
        if value.is_null() {
            return Some(ResultPath::Discard);
        }
        let path = self.as_path("ResultPath", value)?;
        match ReferencePath::new(path) {
            Some(path) => Some(ResultPath::To(path)),
            None => {
                self.wrong("ResultPath", value, REFERENCE);
                None
            }
        }
    }

    /// `<name>` or `<name>Path`.
    pub fn seconds_or_path(
        &mut self,
        name: &'static str,
        path_name: &'static str,
        least: u64,
    ) -> Option<Seconds> {
        self.at_most_one(&[name, path_name]);
        let fixed = self.seconds(name, least).map(Seconds::Fixed);
        let at = self.reference(path_name).map(Seconds::At);
        fixed.or(at)
    }

    /// `Next` or `End`.
    pub fn transition(&mut self) -> Option<Transition> {
        let next = self.string("Next");
        let end = self.take("End");
        let found = match (self.has("Next"), end) {
            (true, None) => return next.map(Transition::To),
            (false, Some(Value::Bool(true))) => return Some(Transition::End),
            (false, Some(other)) => {
                self.wrong("End", other, "`true`");
                return None;
            }
            (true, Some(_)) => "both",
            (false, None) => "neither",
        };
        let path = self.path.clone();
        self.errors.push(LoadError {
            path,
            found: found.to_owned(),
            expected: "either `Next` or `End`".to_owned(),
            hint: None,
        });
        None
    }

    /// Parameters or ResultSelector.
    pub fn template(&mut self, name: &'static str) -> Option<Template> {
        let value = self.take(name)?;
        if !value.is_object() {
            self.wrong(name, value, "an object");
            return None;
        }
        let path = self.at(name);
        Some(template(&path, value, self.errors))
    }

    /// A field of Fail: `<name>`, or `<name>Path` with a path or an intrinsic function.
    pub fn text_or_path(&mut self, name: &'static str, path_name: &'static str) -> Option<Text> {
        self.at_most_one(&[name, path_name]);
        if let Some(value) = self.take(name) {
            return match value.as_str() {
                Some(text) => Some(Text::Fixed(text.to_owned())),
                None => {
                    self.wrong(name, value, "a text");
                    None
                }
            };
        }
        let value = self.take(path_name)?;
        match expression(value) {
            Ok(Template::Path(path)) => Some(Text::At(path)),
            Ok(Template::Call(call)) => Some(Text::Call(call)),
            Ok(_) => None,
            Err(found) => {
                self.report(path_name, found, "a path or an intrinsic function", None);
                None
            }
        }
    }
}

fn template(path: &str, value: &Value, errors: &mut Vec<LoadError>) -> Template {
    match value {
        Value::Object(fields) => {
            let filled: Vec<_> = fields
                .iter()
                .map(|(name, value)| template_field(path, name, value, errors))
                .collect();
            if filled.iter().all(|(_, field)| is_literal(field)) {
                return Template::Literal(value.clone());
            }
            Template::Object(filled)
        }
        Value::Array(items) => {
            let filled: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(at, item)| template(&format!("{path}[{at}]"), item, errors))
                .collect();
            if filled.iter().all(is_literal) {
                return Template::Literal(value.clone());
            }
            Template::Array(filled)
        }
        scalar => Template::Literal(scalar.clone()),
    }
}

fn is_literal(template: &Template) -> bool {
    matches!(template, Template::Literal(_))
}

fn template_field(
    path: &str,
    name: &str,
    value: &Value,
    errors: &mut Vec<LoadError>,
) -> (String, Template) {
    let path = join(path, name);
    let Some(plain) = name.strip_suffix(".$") else {
        return (name.to_owned(), template(&path, value, errors));
    };
    let filled = expression(value).unwrap_or_else(|found| {
        errors.push(LoadError {
            path,
            found,
            expected: "a path such as `$.a.b`, or an intrinsic function".to_owned(),
            hint: Some("a field whose name ends in `.$` is computed".to_owned()),
        });
        Template::Literal(Value::Null)
    });
    (plain.to_owned(), filled)
}

/// A path or a call of an intrinsic function; else what was found instead.
fn expression(value: &Value) -> Result<Template, String> {
    let text = value.as_str().ok_or_else(|| describe(value))?;
    if text.starts_with("States.") {
        Call::parse(text)
            .map(Template::Call)
            .map_err(|e| e.to_string())
    } else {
        Path::parse(text)
            .map(Template::Path)
            .map_err(|e| e.to_string())
    }
}
