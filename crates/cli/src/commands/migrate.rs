//! `headwater migrate`: items of older dialects in the present form.

use crate::context::{Context, Trouble, block_on};
use crate::print::{self, many};
use crate::{findings, items};
use pipeline::config::check;
use pipeline::config::pipeline::release_fault;
use pipeline::migrate::{Migrated, migrate};
use pipeline::normal;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Items of older dialects in the present form
///
/// Data is the rewritten file; talk is what was rewritten, what a person must look at, and the mistakes that are left.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files of items, taken together; `-` is stdin. Without one: the configuration table
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// In the place of releases that cannot be planned, such as `emr-7.13.0`
    #[arg(long, value_name = "LABEL")]
    release_label: Option<String>,
    /// Where the items go, instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let label = arguments.release_label.as_deref();
    if let Some(fault) = label.and_then(release_fault) {
        return Err(Trouble::usage(format!("`--release-label` {fault}")));
    }
    let source = block_on(items::read_all(context, &arguments.files))?;
    let migrated = migrate(&source.items, label);
    let text = normal::print(&migrated.items);
    if let Some(file) = &arguments.output {
        std::fs::write(file, &text).map_err(|error| {
            Trouble::failed(format!("`{}` cannot be written: {error}", file.display()))
        })?;
    }
    let left = check(&migrated.items, &Default::default());
    if context.json {
        print::json(&json!({
            "items": migrated.items,
            "rewritten": migrated.rewritten,
            "look_at": migrated.look_at,
            "problems": findings::json(&left.problems),
            "warnings": findings::json(&left.warnings),
        }))?;
    } else if arguments.output.is_none() {
        print::data(&text)?;
    }
    tell(&migrated);
    let findings = findings::text(&left);
    if !findings.is_empty() {
        print::say(findings.trim_end());
    }
    print::say(&format!(
        "{}: {} rewritten, {} to look at, {} left",
        source.name,
        many(migrated.rewritten.len(), "attribute"),
        migrated.look_at.len(),
        many(left.problems.len(), "mistake"),
    ));
    Ok(ExitCode::SUCCESS)
}

fn tell(migrated: &Migrated) {
    for note in &migrated.rewritten {
        print::say(&format!("rewritten: {note}"));
    }
    for note in &migrated.look_at {
        print::say(&format!("look at: {note}"));
    }
}
