//! `headwater check`: every mistake of all items at once, each with its place and a hint.

use crate::context::{Context, FAILED, Trouble, block_on};
use crate::print::{self, many};
use crate::{findings, items};
use pipeline::config::Checked;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Every mistake in configuration items at once, each with its place and a hint
#[derive(clap::Args)]
pub struct Arguments {
    /// Files of items, taken together; `-` is stdin. Without one: the configuration table
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Allows the `spark_conf` keys that this deployment opts out; by default those of the stack
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let (opt_outs, source) = block_on(async {
        let opt_outs = items::opt_outs(context, arguments.deployment.as_deref()).await?;
        Ok((opt_outs, items::read(context, &arguments.files).await?))
    })?;
    let checked = items::checked(&source, &opt_outs);
    if context.json {
        print::json(&report(&source, &checked))?;
    } else {
        let text = findings::text(&checked);
        print::data(&format!("{text}{}\n", summary(&source, &checked)))?;
    }
    Ok(match checked.problems.as_slice() {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    })
}

fn summary(source: &items::Source, checked: &Checked) -> String {
    if !source.problems.is_empty() {
        let mistakes = many(checked.problems.len(), "mistake");
        return format!("{}: cannot be read: {mistakes}", source.name);
    }
    format!(
        "{}: {} of {}, {}, {}",
        source.name,
        many(source.items.len(), "item"),
        many(checked.configs.len(), "identifier"),
        many(checked.problems.len(), "mistake"),
        many(checked.warnings.len(), "warning"),
    )
}

fn report(source: &items::Source, checked: &Checked) -> serde_json::Value {
    let identifiers: Vec<&str> = checked
        .configs
        .iter()
        .map(|config| config.identifier.as_str())
        .collect();
    json!({
        "source": source.name,
        "items": source.items.len(),
        "identifiers": identifiers,
        "problems": findings::json(&checked.problems),
        "warnings": findings::json(&checked.warnings),
        "ok": checked.problems.is_empty(),
    })
}
