//! What a round of each loop costs in history events: the longest run must fit in 25,000.

use super::graph::Graph;
use crate::history::EventKind;
use crate::limits::HISTORY_EVENTS_MAX;
use crate::machine::{Machine, StateKind};

/// A definition with more loops than this is not one that a person can follow.
const LOOPS_MAX: usize = 10_000;

/// One way around, visiting no state twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// In order, beginning with the first by name.
    pub states: Vec<String>,
    /// Events of a round in which every task succeeds at once.
    pub events: u64,
    /// Events of a round in which every retrier of every task is used up.
    pub events_max: u64,
}

impl Loop {
    /// Rounds that fit in a history of which `reserved` events are for what comes before and after.
    pub fn rounds_max(&self, reserved: u64) -> u64 {
        HISTORY_EVENTS_MAX.saturating_sub(reserved) / self.events.max(1)
    }
}

/// All loops of a machine.
pub fn loops(machine: &Machine) -> Vec<Loop> {
    Graph::new(machine)
        .simple_cycles(LOOPS_MAX)
        .into_iter()
        .map(|states| Loop {
            events: states.iter().map(|name| events(machine, name).0).sum(),
            events_max: states.iter().map(|name| events(machine, name).1).sum(),
            states: states.into_iter().map(str::to_owned).collect(),
        })
        .collect()
}

/// Events of one visit of a state: without a retry, and with all of them.
fn events(machine: &Machine, name: &str) -> (u64, u64) {
    let Some(state) = machine.states.get(name) else {
        return (0, 0);
    };
    let around = 1 + u64::from(EventKind::exited(&state.kind).is_some());
    let StateKind::Task(task) = &state.kind else {
        return (around, around);
    };
    let attempt = EventKind::begun(task.resource.kind).len() as u64 + 1;
    let retries: u64 = task.retry.iter().map(|r| u64::from(r.max_attempts)).sum();
    let once = around + attempt;
    (once, once.saturating_add(retries.saturating_mul(attempt)))
}
