//! `schedule`: when pipelines of a stack start by themselves.

use crate::context::{Context, Trouble, block_on};
use crate::print::{self, say};
use crate::stack;
use aws::schedules::{Schedule, Switch};
use aws::stack::Stack;
use pipeline::problem::nearest;
use serde_json::{Value, json};
use std::process::ExitCode;

/// When pipelines of a stack start by themselves: lists its schedules, turns them on and off
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// What they start, when, and whether they are on
    List,
    /// Turns schedules on
    Enable(Named),
    /// Turns schedules off
    Disable(Named),
}

#[derive(clap::Args)]
struct Named {
    /// A schedule's name, or a part of it that only it has; all schedules of the stack when none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// What starts pipelines at their time on one machine.
const INSTEAD: &str = "on this machine cron can type `headwater run`";
const TITLES: [&str; 6] = [
    "schedule",
    "state",
    "when",
    "time zone",
    "identifier",
    "pipeline",
];

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let name = context.stack("schedule", INSTEAD)?;
    let schedules = block_on(async {
        let stack = stack::open(name).await?;
        match arguments.action {
            Action::List => listed(&stack).await,
            Action::Enable(named) => switched(&stack, &named, Switch::On).await,
            Action::Disable(named) => switched(&stack, &named, Switch::Off).await,
        }
    })?;
    match context.json {
        true => print::json(&schedules.iter().map(as_json).collect())?,
        false => {
            let rows: Vec<Vec<String>> = schedules.iter().map(row).collect();
            print::data(&print::columns(&TITLES, &rows))?
        }
    };
    Ok(ExitCode::SUCCESS)
}

async fn listed(stack: &Stack) -> Result<Vec<Schedule>, Trouble> {
    let mut schedules = Vec::new();
    for name in &stack.schedules {
        schedules.push(stack.aws.schedule(name).await?);
    }
    Ok(schedules)
}

async fn switched(stack: &Stack, named: &Named, switch: Switch) -> Result<Vec<Schedule>, Trouble> {
    let names = match named.names.as_slice() {
        [] => stack.schedules.iter().map(String::as_str).collect(),
        names => names
            .iter()
            .map(|name| meant(&stack.schedules, name))
            .collect::<Result<Vec<&str>, Trouble>>()?,
    };
    let mut schedules = Vec::new();
    for name in names {
        schedules.push(stack.aws.switch_schedule(name, switch).await?);
    }
    say("the next deploy of the template sets them as its parameter `SchedulesState` says");
    Ok(schedules)
}

/// The schedule that somebody means: generated names are long.
fn meant<'a>(all: &'a [String], text: &str) -> Result<&'a str, Trouble> {
    if let Some(exact) = all.iter().find(|name| *name == text) {
        return Ok(exact);
    }
    let part = text.to_lowercase();
    let found: Vec<&String> = all
        .iter()
        .filter(|name| name.to_lowercase().contains(&part))
        .collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(
            Trouble::usage(format!("there is no schedule `{text}`")).hint(
                match nearest(text, all.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", all.join(", ")),
                },
            ),
        ),
        [..] => Err(
            Trouble::usage(format!("`{text}` may be any of {} schedules", found.len()))
                .hint("write more of it; `schedule list` shows their names"),
        ),
    }
}

fn state(schedule: &Schedule) -> &'static str {
    match schedule.switch {
        Switch::On => "enabled",
        Switch::Off => "disabled",
    }
}

fn row(schedule: &Schedule) -> Vec<String> {
    let input = |name: &str| schedule.input[name].as_str().unwrap_or("").to_owned();
    vec![
        schedule.name.clone(),
        state(schedule).to_owned(),
        schedule.expression.clone(),
        schedule.timezone.clone(),
        input("identifier"),
        input("pipeline"),
    ]
}

fn as_json(schedule: &Schedule) -> Value {
    json!({
        "name": schedule.name,
        "state": state(schedule),
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "input": schedule.input,
    })
}
