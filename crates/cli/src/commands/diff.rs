//! `headwater diff`: a file of items against the configuration table: what `import` would change.

use crate::context::{Context, FAILED, Trouble, block_on};
use crate::items;
use crate::print::{self, many};
use pipeline::config::identifier_of;
use pipeline::normal::{self, Difference};
use pipeline::problem::Problem;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// A file of items against the configuration table: what `import` would change
///
/// Only the identifiers of the file are compared. The exit code is 1 when anything differs.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files of items, taken together; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let source = block_on(items::read_all(context, &arguments.files))?;
    let problems = keyless(&source.items);
    if !problems.is_empty() {
        return Err(Trouble::problems(&problems));
    }
    let new = items::by_identifier(&source.items);
    let mut stored = block_on(async { items::stored(&context.existing().await?).await })?;
    stored.retain(|item| {
        let identifier = item.get("identifier").and_then(Value::as_str);
        identifier.is_some_and(|identifier| new.contains_key(identifier))
    });
    let differences = normal::diff(&stored, &source.items);
    if context.json {
        print::json(&json!({"source": source.name, "differences": differences}))?;
    } else {
        print::data(&unified(&source.name, &differences))?;
    }
    let mistakes = items::checked(&source, &Default::default()).problems.len();
    if mistakes > 0 {
        let mistakes = many(mistakes, "mistake");
        print::say(&format!(
            "{}: {mistakes}: `headwater check` shows them",
            source.name
        ));
    }
    Ok(match differences.as_slice() {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    })
}

/// Items that cannot be compared, because nothing says which they are.
fn keyless(items: &[Value]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match (
            identifier_of(item, index),
            item.get("config").and_then(Value::as_str),
        ) {
            (Err(problem), _) => problems.push(*problem),
            (Ok(identifier), None) => {
                let place = pipeline::item::place_of(item, index);
                let problem = Problem::fault(&place, "config", "is not the key of an item");
                problems.push(problem.of(&identifier));
            }
            (Ok(_), Some(_)) => {}
        }
    }
    problems
}

/// The form of `diff -u`: a head per item, a line per attribute.
fn unified(name: &str, differences: &[Difference]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    let mut text = format!("--- table\n+++ {name}\n");
    let mut above = None;
    for difference in differences {
        let (identifier, key, lines) = lines(difference);
        if above != Some((identifier, key)) {
            text.push_str(&format!("@@ {identifier} {key} @@\n"));
        }
        above = Some((identifier, key));
        text.push_str(&lines);
    }
    text
}

fn lines(difference: &Difference) -> (&str, &str, String) {
    let line = |sign: char, path: &str, value: &String| format!("{sign}{path}: {value}\n");
    match difference {
        Difference::Added {
            identifier,
            key,
            attributes,
        } => {
            let lines = attributes
                .iter()
                .map(|(path, value)| line('+', path, value));
            (identifier, key, lines.collect())
        }
        Difference::Removed {
            identifier,
            key,
            attributes,
        } => {
            let lines = attributes
                .iter()
                .map(|(path, value)| line('-', path, value));
            (identifier, key, lines.collect())
        }
        Difference::Changed {
            identifier,
            key,
            path,
            before,
            after,
        } => {
            let before = before.iter().map(|value| line('-', path, value));
            let after = after.iter().map(|value| line('+', path, value));
            (identifier, key, before.chain(after).collect())
        }
    }
}
