//! `headwater import`: a file of items into the configuration table, all of it or nothing.

use crate::context::{Context, FAILED, Trouble, block_on};
use crate::print::{self, many};
use crate::{findings, items};
use pipeline::config::Checked;
use pipeline::normal::{self, Difference};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// A file of items into the configuration table
///
/// The items of a file take the place of all items of their identifiers; other identifiers stay as they are. Nothing is
/// imported when there is any mistake. A stack's table takes items in batches: no run begins on half of them, and an
/// import that was interrupted is completed by repeating it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files of items, taken together; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Allows the `spark_conf` keys that this deployment opts out; by default those of the stack
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(import(context, arguments))
}

async fn import(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let opt_outs = items::opt_outs(context, arguments.deployment.as_deref()).await?;
    let source = items::read(context, &arguments.files).await?;
    let checked = items::checked(&source, &opt_outs);
    if !checked.problems.is_empty() {
        return refuse(context, &checked);
    }
    let new = items::by_identifier(&items::without_generation(source.items));
    // A dry run makes no home folder.
    let place = match arguments.dry_run && !context.exists() {
        true => None,
        false => Some(context.open().await?),
    };
    let old = match &place {
        None => BTreeMap::new(),
        Some(place) => items::by_identifier(&items::stored(place).await?),
    };
    let mut imported = Vec::new();
    for (identifier, items) in &new {
        let before = old.get(identifier).map_or(&[][..], Vec::as_slice);
        let mut items = normal::normalise(items);
        let differences = normal::diff(before, &items);
        let generation = normal::generation(&items);
        let count = items.len();
        items.push(normal::generation_item(identifier, &items));
        if let Some(place) = place.as_ref().filter(|_| !arguments.dry_run) {
            place.replace_items(identifier, &items).await?;
        }
        imported.push(Imported {
            identifier: identifier.clone(),
            count,
            generation,
            differences,
        });
    }
    report(context, &imported, &checked, arguments.dry_run)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(context: &Context, checked: &Checked) -> Result<ExitCode, Trouble> {
    let mistakes = many(checked.problems.len(), "mistake");
    if context.json {
        print::json(&json!({
            "imported": [],
            "problems": findings::json(&checked.problems),
            "warnings": findings::json(&checked.warnings),
        }))?;
    } else {
        print::say(findings::text(checked).trim_end());
    }
    print::say(&format!("nothing was imported: {mistakes}"));
    Ok(ExitCode::from(FAILED))
}

/// What became of one identifier.
struct Imported {
    identifier: String,
    count: usize,
    generation: String,
    differences: Vec<Difference>,
}

impl Imported {
    /// Items that are new, differ, or are gone.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for difference in &self.differences {
            let (kind, key) = match difference {
                Difference::Added { key, .. } => ("added", key),
                Difference::Changed { key, .. } => ("changed", key),
                Difference::Removed { key, .. } => ("removed", key),
            };
            keys.entry(kind).or_default().insert(key);
        }
        ["added", "changed", "removed"]
            .into_iter()
            .map(|kind| (kind, keys.get(kind).map_or(0, BTreeSet::len)))
            .collect()
    }
}

fn report(
    context: &Context,
    imported: &[Imported],
    checked: &Checked,
    dry_run: bool,
) -> Result<(), Trouble> {
    if context.json {
        let value = as_json(imported, checked, dry_run);
        return print::json(&value).map(|_| ());
    }
    let warnings = findings::text(checked);
    if !warnings.is_empty() {
        print::say(warnings.trim_end());
    }
    let mut text = String::new();
    for one in imported {
        for difference in &one.differences {
            text.push_str(&format!("{difference}\n"));
        }
        let counts: Vec<String> = one
            .counts()
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let items = many(one.count, "item");
        text.push_str(&format!(
            "{}: {items}: {}\n",
            one.identifier,
            counts.join(", ")
        ));
    }
    print::data(&text)?;
    if dry_run {
        print::say("nothing was imported: `--dry-run`");
    }
    Ok(())
}

fn as_json(imported: &[Imported], checked: &Checked, dry_run: bool) -> Value {
    let identifiers: Vec<Value> = imported
        .iter()
        .map(|one| {
            let mut value = json!({
                "identifier": one.identifier,
                "items": one.count,
                "generation": one.generation,
                "differences": one.differences,
            });
            for (kind, count) in one.counts() {
                value[kind] = json!(count);
            }
            value
        })
        .collect();
    json!({
        "dry_run": dry_run,
        "imported": identifiers,
        "problems": [],
        "warnings": findings::json(&checked.warnings),
    })
}
