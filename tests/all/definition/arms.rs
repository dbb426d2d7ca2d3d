//! What stories must take of a definition, computed from the definition itself: states, arms of choices, catches, retries.

use super::story::{Retrier, retriers};
use super::walk::Walk;
use serde_json::Value;
use std::collections::BTreeSet;

/// Everything that a walk can take.
pub fn all(definition: &Value) -> BTreeSet<String> {
    let states = definition["States"].as_object().expect("states");
    states
        .iter()
        .flat_map(|(name, state)| {
            let arms = match state["Type"].as_str() {
                Some("Task") => task_arms(definition, name),
                Some("Choice") => choice_arms(name, state),
                Some("Wait" | "Succeed" | "Fail") => Vec::new(),
                other => panic!("`{name}`: say what stories must take of a {other:?}"),
            };
            arms.into_iter().chain([entered(name)])
        })
        .collect()
}

/// What one walk took.
pub fn taken(definition: &Value, walk: &Walk) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for (at, visit) in walk.visits.iter().enumerate() {
        let name = visit.state.as_str();
        let next = walk.visits.get(at + 1).map(|visit| visit.state.as_str());
        let state = &definition["States"][name];
        taken.insert(entered(name));
        if state["Type"] == "Choice" {
            taken.extend(next.map(|next| goes(name, next)));
            let tests = tests(state);
            taken.extend(
                tests
                    .into_iter()
                    .filter_map(|test| test.seen(name, &visit.input)),
            );
        }
        if state["Type"] == "Task" {
            taken.extend(tries_taken(definition, name, &visit.tries));
            let caught = matches!(visit.tries.last(), Some(Some(_)));
            taken.extend(next.filter(|_| caught).map(|next| catches(name, next)));
            taken.extend(next.filter(|_| !caught).map(|next| goes(name, next)));
        }
    }
    taken
}

fn entered(state: &str) -> String {
    format!("{state} is entered")
}

fn goes(state: &str, next: &str) -> String {
    format!("{state} goes to {next}")
}

fn catches(state: &str, next: &str) -> String {
    format!("{state} catches, and goes to {next}")
}

fn recovers(state: &str, error: &str) -> String {
    format!("{state} recovers from `{error}`")
}

fn gives_up(state: &str, retrier: usize) -> String {
    format!("{state} has no retries left of its retrier {retrier}")
}

fn not_retried(state: &str) -> String {
    format!("{state} fails with an error that no retrier names")
}

fn task_arms(definition: &Value, name: &str) -> Vec<String> {
    let state = &definition["States"][name];
    let catchers = state["Catch"].as_array().into_iter().flatten();
    let mut arms: Vec<String> = catchers
        .map(|catcher| catches(name, text(&catcher["Next"])))
        .collect();
    arms.push(goes(name, text(&state["Next"])));
    arms.push(not_retried(name));
    for (at, retrier) in retriers(definition, name).iter().enumerate() {
        arms.push(gives_up(name, at));
        arms.extend(retrier.names.iter().map(|error| recovers(name, error)));
    }
    arms
}

fn tries_taken(definition: &Value, name: &str, tries: &[Option<String>]) -> Vec<String> {
    let retriers = retriers(definition, name);
    let covering = |error: &str| {
        let covers = |retrier: &Retrier<'_>| retrier.names.contains(&error);
        retriers.iter().position(covers)
    };
    let errors: Vec<&str> = tries.iter().flatten().map(String::as_str).collect();
    match tries.last() {
        Some(Some(last)) => match covering(last) {
            Some(at) => {
                let used = errors.iter().filter(|error| covering(error) == Some(at));
                let exhausted = used.count() as u64 == retriers[at].attempts + 1;
                exhausted.then(|| gives_up(name, at)).into_iter().collect()
            }
            None => vec![not_retried(name)],
        },
        _ => errors.iter().map(|error| recovers(name, error)).collect(),
    }
}

fn choice_arms(name: &str, state: &Value) -> Vec<String> {
    let rules = state["Choices"].as_array().into_iter().flatten();
    let targets = rules.map(|rule| &rule["Next"]).chain([&state["Default"]]);
    targets
        .map(|next| goes(name, text(next)))
        .chain(tests(state).iter().map(|test| test.name(name)))
        .collect()
}

/// A comparison of a choice, which stories must meet as it holds: of a text, or of a field that may be absent.
struct Test<'a> {
    variable: &'a str,
    /// `None`: a story must come without the field.
    equals: Option<&'a str>,
}

impl Test<'_> {
    fn name(&self, state: &str) -> String {
        match self.equals {
            Some(text) => format!("{state} meets {} = {text}", self.variable),
            None => format!("{state} meets no {}", self.variable),
        }
    }

    fn seen(&self, state: &str, input: &Value) -> Option<String> {
        let field = self
            .variable
            .strip_prefix("$.")
            .expect("a path of one field");
        let found = input.get(field);
        let holds = match self.equals {
            Some(text) => found.is_some_and(|value| value == text),
            None => found.is_none(),
        };
        holds.then(|| self.name(state))
    }
}

fn tests(state: &Value) -> Vec<Test<'_>> {
    let rules = state["Choices"].as_array().into_iter().flatten();
    rules.flat_map(tests_of_rule).collect()
}

fn tests_of_rule(rule: &Value) -> Vec<Test<'_>> {
    let joined = rule["And"].as_array().or(rule["Or"].as_array());
    if let Some(rules) = joined {
        return rules.iter().flat_map(tests_of_rule).collect();
    }
    let equals = rule["StringEquals"].as_str();
    assert!(
        equals.is_some() || rule["IsPresent"] == true,
        "say what stories must take of this rule: {rule}"
    );
    vec![Test {
        variable: text(&rule["Variable"]),
        equals,
    }]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
