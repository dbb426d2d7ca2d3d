//! What is allowed and unwise: a definition that passes has a bound on every task, retry and loop, and an answer to every failure.

mod graph;
mod loops;
mod tasks;

pub use loops::{Loop, loops};

use crate::machine::{Machine, StateKind};
use graph::Graph;
use std::fmt;

/// What only the owner of a definition can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LintOptions {
    /// Every path from the start to an end passes through this state…
    pub through: Option<String>,
    /// …but those that end in one of these.
    pub may_end_before: Vec<String>,
}

/// One thing to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `None`: the machine as a whole.
    pub state: Option<String>,
    pub rule: Rule,
    pub message: String,
    pub hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every Choice has a Default.
    ChoiceDefault,
    /// Every Task has a time-out.
    TaskTimeout,
    /// Every Task has a Retry.
    TaskRetry,
    /// Every retrier is bounded in attempts and delay.
    RetryBound,
    /// A Lambda function's transient errors are retried.
    TransientErrors,
    /// Every Task catches `States.ALL`.
    TaskCatch,
    /// No Retry or Catch names only errors that are never matched.
    NeverMatches,
    /// Every state can be reached.
    Unreachable,
    /// Every state can reach an end.
    Endless,
    /// Every loop passes through a Wait.
    LoopWait,
    /// A machine with a loop has a time-out.
    MachineTimeout,
    /// Every path passes through the state that it must.
    Through,
}

impl Rule {
    pub fn name(self) -> &'static str {
        match self {
            Self::ChoiceDefault => "choice-default",
            Self::TaskTimeout => "task-timeout",
            Self::TaskRetry => "task-retry",
            Self::RetryBound => "retry-bound",
            Self::TransientErrors => "transient-errors",
            Self::TaskCatch => "task-catch",
            Self::NeverMatches => "never-matches",
            Self::Unreachable => "unreachable",
            Self::Endless => "endless",
            Self::LoopWait => "loop-wait",
            Self::MachineTimeout => "machine-timeout",
            Self::Through => "through",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_deref().unwrap_or("the machine");
        write!(
            f,
            "`{state}`: {} ({})\nhint: {}",
            self.message,
            self.rule.name(),
            self.hint
        )
    }
}

/// All findings, by state.
pub fn lint(machine: &Machine, options: &LintOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, state) in &machine.states {
        match &state.kind {
            StateKind::Task(task) => tasks::check(name, task, &mut findings),
            StateKind::Choice(choice) if choice.default.is_none() => findings.push(Finding {
                state: Some(name.clone()),
                rule: Rule::ChoiceDefault,
                message: "a Choice without a Default".to_owned(),
                hint: "an input that no rule expects would fail the execution, past every Catch",
            }),
            StateKind::Choice(_)
            | StateKind::Wait(_)
            | StateKind::Pass(_)
            | StateKind::Succeed
            | StateKind::Fail(_) => {}
        }
    }
    let graph = Graph::new(machine);
    reachability(machine, &graph, &mut findings);
    bounds(machine, &graph, &mut findings);
    if let Some(through) = &options.through {
        passes(machine, &graph, through, options, &mut findings);
    }
    findings.sort_by(|a, b| (&a.state, a.rule).cmp(&(&b.state, b.rule)));
    findings
}

fn reachability(machine: &Machine, graph: &Graph<'_>, findings: &mut Vec<Finding>) {
    let reached = graph.paths_from(&machine.start_at, |_| true);
    let ending = graph.reaching_an_end();
    for name in machine.states.keys() {
        if !reached.contains_key(name.as_str()) {
            findings.push(Finding {
                state: Some(name.clone()),
                rule: Rule::Unreachable,
                message: "no path leads here".to_owned(),
                hint: "remove it, or lead a transition to it",
            });
        }
        if !ending.contains(name.as_str()) {
            findings.push(Finding {
                state: Some(name.clone()),
                rule: Rule::Endless,
                message: "no path leads from here to an end".to_owned(),
                hint: "lead a Choice or a Catch out of the loop",
            });
        }
    }
}

fn bounds(machine: &Machine, graph: &Graph<'_>, findings: &mut Vec<Finding>) {
    if machine.timeout_seconds.is_none() && !graph.cycles(|_| true).is_empty() {
        findings.push(Finding {
            state: None,
            rule: Rule::MachineTimeout,
            message: "a machine with a loop and without TimeoutSeconds".to_owned(),
            hint: "give the machine the longest time that a run may take",
        });
    }
    let waits = |name: &str| {
        let state = machine.states.get(name);
        state.is_some_and(|state| matches!(state.kind, StateKind::Wait(_)))
    };
    for cycle in graph.cycles(|name| !waits(name)) {
        findings.push(Finding {
            state: cycle.first().map(|name| (*name).to_owned()),
            rule: Rule::LoopWait,
            message: format!("a loop without a Wait: {}", cycle.join(" -> ")),
            hint: "put a Wait into the loop: its rounds cost time, money and history events",
        });
    }
}

fn passes(
    machine: &Machine,
    graph: &Graph<'_>,
    through: &str,
    options: &LintOptions,
    findings: &mut Vec<Finding>,
) {
    if !machine.states.contains_key(through) {
        findings.push(Finding {
            state: None,
            rule: Rule::Through,
            message: format!("there is no state `{through}`"),
            hint: "name the state through which every path must pass",
        });
        return;
    }
    for (end, path) in graph.paths_from(&machine.start_at, |name| name != through) {
        if graph.is_end(end) && !options.may_end_before.iter().any(|name| name == end) {
            findings.push(Finding {
                state: Some(end.to_owned()),
                rule: Rule::Through,
                message: format!(
                    "the execution ends here without `{through}`: {}",
                    path.join(" -> ")
                ),
                hint: "lead the path through that state, or name this end as allowed",
            });
        }
    }
}
