//! Configuration items as commands read them: from files, from stdin, or from the configuration table.

use crate::context::{Context, Target, Trouble};
use crate::place::Place;
use crate::print::say;
use pipeline::config::{Checked, check};
use pipeline::deployment::Deployment;
use pipeline::item::read_items;
use pipeline::normal::GENERATION_KEY;
use pipeline::problem::Problem;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tasks::port::{DeploymentError, Deployments};

/// Means stdin where a file is expected.
pub const STDIN: &str = "-";
const FORMS: &str = "items are a JSON array, JSON Lines or DynamoDB JSON";

/// Items, and where they come from.
pub struct Source {
    /// As messages name it.
    pub name: String,
    pub items: Vec<Value>,
    /// The index of each file's first item, with the file's name.
    starts: Vec<(usize, String)>,
    /// Why a text is not a file of items.
    pub problems: Vec<Problem>,
}

/// The items of all files together; of the table where no file is given.
pub async fn read(context: &Context, files: &[PathBuf]) -> Result<Source, Trouble> {
    match files {
        [] => table(context).await,
        files => of_files(files),
    }
}

/// Like `read`, for what has no use for items that cannot be read.
pub async fn read_all(context: &Context, files: &[PathBuf]) -> Result<Source, Trouble> {
    let source = read(context, files).await?;
    if source.problems.is_empty() {
        Ok(source)
    } else {
        Err(Trouble::problems(&source.problems))
    }
}

fn of_files(files: &[PathBuf]) -> Result<Source, Trouble> {
    let names: Vec<String> = files.iter().map(|file| name_of(file)).collect();
    let mut source = Source {
        name: names.join(", "),
        items: Vec::new(),
        starts: Vec::new(),
        problems: Vec::new(),
    };
    for (file, name) in files.iter().zip(names) {
        source.starts.push((source.items.len(), name.clone()));
        match read_items(&text_of(file)?) {
            Ok(items) => source.items.extend(items),
            Err(problems) => source.problems.extend(problems.into_iter().map(|problem| {
                let key = format!("{name}: {}", problem.key);
                Problem { key, ..problem }
            })),
        }
    }
    if source.items.is_empty() && source.problems.is_empty() {
        return Err(Trouble::failed(format!("`{}` holds no items", source.name)).hint(FORMS));
    }
    Ok(source)
}

async fn table(context: &Context) -> Result<Source, Trouble> {
    let place = context.existing().await?;
    Ok(Source {
        name: match &context.target {
            Target::Home(folder) => format!("the table of `{}`", folder.display()),
            Target::Stack(name) => format!("the table of stack `{name}`"),
        },
        items: stored(&place).await?,
        starts: Vec::new(),
        problems: Vec::new(),
    })
}

/// All items of the table, without those that state a generation.
pub async fn stored(place: &Place) -> Result<Vec<Value>, Trouble> {
    Ok(without_generation(place.all_items().await?))
}

pub fn without_generation(items: Vec<Value>) -> Vec<Value> {
    let states = |item: &Value| item.get("config").and_then(Value::as_str) == Some(GENERATION_KEY);
    items.into_iter().filter(|item| !states(item)).collect()
}

/// Items by identifier; those without one are told by `check`.
pub fn by_identifier(items: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in items {
        if let Some(identifier) = item.get("identifier").and_then(Value::as_str) {
            let group = groups.entry(identifier.to_owned()).or_default();
            group.push(item.clone());
        }
    }
    groups
}

/// All that is wrong with the items of a source, what cannot be read included.
pub fn checked(source: &Source, opt_outs: &BTreeSet<String>) -> Checked {
    let mut checked = match source.problems.as_slice() {
        [] => check(&source.items, opt_outs),
        // Half a file would only give mistakes that are none.
        _ => Checked::default(),
    };
    checked.problems.extend(source.problems.iter().cloned());
    if source.starts.len() > 1 {
        for problem in &mut checked.problems {
            name_file(&source.starts, problem);
        }
    }
    checked
}

/// An item without a key is told by its number: in its own file, not in all files together.
fn name_file(starts: &[(usize, String)], problem: &mut Problem) {
    let number = problem.key.strip_prefix("item ");
    let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
        return;
    };
    let own = starts.iter().rev().find(|(start, _)| *start < number);
    if let Some((start, file)) = own {
        problem.key = format!("{file}: item {}", number - start);
    }
}

/// The deployment of a place.
pub async fn deployment_at(place: &Place) -> Result<Deployment, Trouble> {
    place.deployment().await.map_err(|error| match error {
        DeploymentError::Faulty(mistakes) => Trouble::failed(format!(
            "there is nothing to plan for in {}: {}",
            place.name(),
            mistakes.join("\n")
        ))
        .hint(format!(
            "`{} artifacts push` uploads the code that clusters run, and lists it",
            place.headwater()
        )),
        DeploymentError::Port(error) => error.into(),
    })
}

/// The `spark_conf` keys that are allowed beyond the list: by the file, else by the stack.
pub async fn opt_outs(context: &Context, file: Option<&Path>) -> Result<BTreeSet<String>, Trouble> {
    match (file, &context.target) {
        (Some(file), _) => Ok(deployment_of(file)?.spark_conf_opt_outs),
        (None, Target::Home(_)) => Ok(BTreeSet::new()),
        (None, Target::Stack(_)) => match deployment_at(&context.open().await?).await {
            Ok(deployment) => Ok(deployment.spark_conf_opt_outs),
            // Items can be looked at before there is code to run.
            Err(trouble) => {
                say(&trouble.to_string().replacen("error", "warning", 1));
                Ok(BTreeSet::new())
            }
        },
    }
}

/// A deployment file; all mistakes at once.
pub fn deployment_of(file: &Path) -> Result<Deployment, Trouble> {
    let name = name_of(file);
    let value: Value = serde_json::from_str(&text_of(file)?).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!("`{name}` is not JSON: line {line}, column {column}");
        Trouble::failed(message).hint("docs/configuration.md shows a deployment file")
    })?;
    Deployment::parse(&value).map_err(|problems| {
        let named: Vec<Problem> = problems
            .into_iter()
            .map(|problem| Problem {
                key: name.clone(),
                ..problem
            })
            .collect();
        Trouble::problems(&named)
    })
}

fn name_of(file: &Path) -> String {
    if file == Path::new(STDIN) {
        return "stdin".to_owned();
    }
    file.display().to_string()
}

fn text_of(file: &Path) -> Result<String, Trouble> {
    let name = name_of(file);
    let bytes = bytes_of(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::usage(format!("`{name}` does not exist")),
        ErrorKind::IsADirectory => Trouble::usage(format!("`{name}` is a folder")),
        _ => Trouble::failed(format!("`{name}` cannot be read: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let (line, column) = place(&String::from_utf8_lossy(good));
        let message = format!("`{name}` is not UTF-8: line {line}, column {column}");
        Trouble::failed(message).hint("save it as UTF-8")
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Trouble::failed(format!("`{name}` is empty")).hint(FORMS));
    }
    Ok(text)
}

fn bytes_of(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new(STDIN) {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Line and column of what follows a text, from 1.
fn place(before: &str) -> (usize, usize) {
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}
