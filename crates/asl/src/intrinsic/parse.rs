//! From the text of an intrinsic call to its parts.

use super::{Argument, Call, CallError, Function};
use crate::path::Path;
use serde_json::Value;

/// Calls nested deeper than the service allows are refused, so that no text can exhaust the stack.
const DEPTH_MAX: usize = 10;

pub(super) fn call(text: &str) -> Result<Call, CallError> {
    let mut reader = Reader { text, rest: text };
    let call = reader.call(0)?;
    reader.skip_blanks();
    if reader.rest.is_empty() {
        Ok(call)
    } else {
        Err(reader.broken())
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn broken(&self) -> CallError {
        CallError::Broken(self.text.to_owned())
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn accept(&mut self, token: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn call(&mut self, depth: usize) -> Result<Call, CallError> {
        if depth >= DEPTH_MAX {
            return Err(self.broken());
        }
        let end = self.rest.find('(').ok_or_else(|| self.broken())?;
        let name = self.rest[..end].trim();
        let function = Function::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, function)| *function)
            .ok_or_else(|| CallError::Function(name.to_owned()))?;
        self.rest = &self.rest[end + 1..];
        let mut arguments = self.arguments(depth)?;
        let (least, most) = function.arguments();
        if !(least..=most).contains(&arguments.len()) {
            return Err(CallError::Arguments {
                function: name.to_owned(),
                found: arguments.len(),
            });
        }
        // The escapes of a format are read together with its placeholders.
        let kept = usize::from(function == Function::Format);
        for argument in arguments.iter_mut().skip(kept) {
            if let Argument::Literal(Value::String(text)) = argument {
                *text = unescape(text);
            }
        }
        Ok(Call {
            function,
            arguments,
        })
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Argument>, CallError> {
        let mut arguments = Vec::new();
        if self.accept(')') {
            return Ok(arguments);
        }
        loop {
            self.skip_blanks();
            arguments.push(self.argument(depth)?);
            if self.accept(')') {
                return Ok(arguments);
            }
            if !self.accept(',') {
                return Err(self.broken());
            }
        }
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, CallError> {
        if let Some(rest) = self.rest.strip_prefix('\'') {
            self.rest = rest;
            return self.string().map(Argument::Literal);
        }
        if self.rest.starts_with("States.") {
            return self.call(depth + 1).map(Argument::Call);
        }
        let word = self.word();
        if word.starts_with('$') {
            return Ok(Argument::Path(Path::parse(word.trim_end())?));
        }
        match serde_json::from_str(word.trim_end()) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => {
                Ok(Argument::Literal(value))
            }
            _ => Err(self.broken()),
        }
    }

    /// Up to the comma or bracket that ends the argument; a path may hold both inside quotes or square brackets.
    fn word(&mut self) -> &'t str {
        let mut quoted = None;
        let mut square = 0_usize;
        let end = self.rest.find(|c: char| {
            match (quoted, c) {
                (Some(quote), c) if c == quote => quoted = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quoted = Some(c),
                (None, '[') => square += 1,
                (None, ']') => square = square.saturating_sub(1),
                (None, ',' | ')') => return square == 0,
                (None, _) => {}
            }
            false
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// The inside of a quoted text, escapes kept.
    fn string(&mut self) -> Result<Value, CallError> {
        let mut escaped = false;
        let end = self.rest.find(|c: char| {
            let ends = c == '\'' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or_else(|| self.broken())?;
        let text = self.rest[..end].to_owned();
        self.rest = &self.rest[end + 1..];
        Ok(Value::String(text))
    }
}

/// A backslash stands for the character after it.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' {
            characters.next().unwrap_or(c)
        } else {
            c
        });
    }
    plain
}
