//! A plan as a person reads it: commands as they would be typed, one option per line.

use crate::print::many;
use pipeline::plan::{Next, Plan, PlannedStep, StepWork};
use serde::Serialize;
use serde_json::Value;

pub fn text(plan: &Plan) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        plan.identifier,
        plan.pipeline,
        many(plan.steps.len(), "step")
    );
    let mut line = |name: &str, value: &dyn AsValue| outline(&mut text, 0, name, &value.value());
    line("engine", &plan.engine);
    line("target", &plan.target);
    line("plan sha256", &plan.sha256());
    line("generation", &plan.generation);
    line("source", &plan.source);
    line("policy", &plan.policy);
    line("zones", &plan.zones);
    line("code", &plan.code);
    line("cluster", &plan.cluster);
    match &plan.next {
        Next::Stop => line("next", &"nothing"),
        Next::Start { .. } => line("next", &plan.next),
    }
    text.push_str("steps:\n");
    for (index, step) in plan.steps.iter().enumerate() {
        step_text(&mut text, index, step);
    }
    let mut line = |name: &str, value: &dyn AsValue| outline(&mut text, 0, name, &value.value());
    line("locks", &plan.writes);
    line("disabled", &plan.disabled);
    line("not applicable", &plan.not_applicable);
    if plan.faulty.is_empty() {
        line("faulty", &plan.faulty);
        return text;
    }
    text.push_str("faulty:\n");
    for faulty in &plan.faulty {
        text.push_str(&format!("  {}\n", faulty.name));
        for lines in faulty.problems.iter().flat_map(|problem| problem.lines()) {
            text.push_str(&format!("    {lines}\n"));
        }
    }
    text
}

/// What has a JSON form.
trait AsValue {
    fn value(&self) -> Value;
}

impl<T: Serialize> AsValue for T {
    fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn step_text(text: &mut String, index: usize, step: &PlannedStep) {
    text.push_str(&format!("  {index} {}\n", step.name));
    let mut line = |name: &str, value: &dyn AsValue| outline(text, 4, name, &value.value());
    line("engine", &step.engine);
    line("writes", &step.writes);
    if !step.after.is_empty() {
        line("after", &step.after);
    }
    if !step.notes.is_empty() {
        line("notes", &step.notes);
    }
    match &step.work {
        StepWork::SparkSubmit { arguments, .. } | StepWork::Program { arguments } => {
            text.push_str(&command(arguments, 4));
        }
        StepWork::Load(load) => line("load", load),
        StepWork::Seed(work) => line("seed", work),
        StepWork::Merge(work) => line("merge", work),
    }
}

/// A value and what is in it, a line each.
fn outline(text: &mut String, indent: usize, name: &str, value: &Value) {
    let blank = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push_str(&format!("{blank}{name}:\n"));
            for (name, value) in map {
                outline(text, indent + 2, name, value);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            text.push_str(&format!("{blank}{name}:\n"));
            for value in values {
                outline_entry(text, indent + 2, value);
            }
        }
        leaf => text.push_str(&format!("{blank}{name}: {}\n", leaf_text(leaf))),
    }
}

/// One entry of a list.
fn outline_entry(text: &mut String, indent: usize, value: &Value) {
    let start = text.len();
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                outline(text, indent + 2, name, value);
            }
        }
        value => text.push_str(&format!("{}{}\n", " ".repeat(indent + 2), leaf_text(value))),
    }
    text.replace_range(start + indent..start + indent + 1, "-");
}

fn leaf_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

/// A command for a shell: each option with its value on a line of its own.
fn command(arguments: &[String], indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut flag_open = false;
    for argument in arguments {
        let is_flag = argument.starts_with("--");
        match lines.last_mut().filter(|_| flag_open && !is_flag) {
            Some(line) => {
                line.push(' ');
                line.push_str(&quoted(argument));
            }
            None => lines.push(quoted(argument)),
        }
        flag_open = is_flag && !argument.contains('=');
    }
    let blank = " ".repeat(indent);
    let text = lines.join(&format!(" \\\n{blank}  "));
    format!("{blank}{text}\n")
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_an_option_per_line_and_survives_a_shell() {
        let arguments = [
            "spark-submit",
            "--conf",
            "a=b",
            "--sync",
            "--name",
            "it's {run_id}",
            "x.py",
            "7",
        ];
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        assert_eq!(
            command(&arguments, 2),
            "  spark-submit \\\n    --conf a=b \\\n    --sync \\\n    --name 'it'\\''s {run_id}' \\\n    x.py \\\n    7\n"
        );
    }
}
