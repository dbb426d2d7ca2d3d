//! Step states into progress: what is done, what runs, what to do next.

use crate::plan::{OnStepFailure, Plan};
use crate::report::{StepFailure, StepOutcome, StepReport, StepResult};
use crate::run::{Cause, Work};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Active steps that a cluster takes (EMR's limit).
pub const STEPS_ACTIVE_MAX: usize = 256;
/// Steps of one submission: each is one entry of an AddJobFlowSteps request.
pub const WAVE_STEPS_MAX: usize = STEPS_ACTIVE_MAX;

/// One submission of steps, written before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    pub number: u32,
    /// Cluster attempt that it is submitted to.
    pub cluster_attempt: u32,
    pub at: Timestamp,
    /// Index and attempt of each step.
    pub steps: Vec<(u32, u32)>,
}

/// The name of a step on a cluster: derived, so that it is found again.
pub fn step_name(index: u32, attempt: u32, name: &str) -> String {
    format!("{index:05}-a{attempt}-{name}")
}

/// Index and attempt from a step's name on a cluster.
pub fn parse_step_name(name: &str) -> Option<(u32, u32)> {
    let (index, rest) = name.split_once("-a")?;
    let (attempt, _) = rest.split_once('-')?;
    Some((index.parse().ok()?, attempt.parse().ok()?))
}

/// What the ledger and the cluster say of a run's steps.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Results by index; of several attempts the newest.
    pub results: BTreeMap<u32, StepResult>,
    /// Attempts that were submitted, newest by index.
    pub submitted: BTreeMap<u32, u32>,
    /// Steps that are pending or running on the cluster.
    pub active: BTreeSet<u32>,
}

impl Observed {
    pub fn from_records(results: Vec<StepResult>, waves: &[Wave]) -> Self {
        let mut observed = Self::default();
        for (index, attempt) in waves.iter().flat_map(|wave| wave.steps.iter().copied()) {
            let newest = observed.submitted.entry(index).or_insert(attempt);
            *newest = attempt.max(*newest);
        }
        for result in results {
            match observed.results.get(&result.index) {
                Some(held) if held.attempt >= result.attempt => {}
                _ => {
                    observed.results.insert(result.index, result);
                }
            }
        }
        observed
    }

    /// Steps whose newest submitted attempt has no result.
    pub fn unresolved(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.submitted
            .iter()
            .map(|(index, attempt)| (*index, *attempt))
            .filter(|(index, attempt)| {
                self.results
                    .get(index)
                    .is_none_or(|result| result.attempt < *attempt)
            })
    }

    pub fn any_failed(&self) -> bool {
        self.results.keys().any(|index| self.failed(*index))
    }

    fn failed(&self, index: u32) -> bool {
        self.results
            .get(&index)
            .is_some_and(|result| matches!(result.outcome, StepOutcome::Failed(_)))
    }

    fn succeeded(&self, index: u32) -> bool {
        self.results
            .get(&index)
            .is_some_and(|result| matches!(result.outcome, StepOutcome::Succeeded(_)))
    }
}

/// Steps that may be submitted now, in order: each has all that it needs, and none failed where that stops the rest.
pub fn ready(plan: &Plan, work: &Work, observed: &Observed) -> Vec<u32> {
    if plan.policy.on_step_failure == OnStepFailure::Stop && observed.any_failed() {
        return Vec::new();
    }
    let in_work: BTreeSet<u32> = work.steps.iter().copied().collect();
    work.steps
        .iter()
        .copied()
        .filter(|index| !observed.submitted.contains_key(index))
        .filter(|index| {
            let needed = plan
                .steps
                .get(*index as usize)
                .map_or(&[][..], |step| &step.after);
            needed
                .iter()
                .all(|before| observed.succeeded(*before) || !in_work.contains(before))
        })
        .collect()
}

/// Steps that may be on the cluster at once. Where a failure stops the rest, none waits there: it could not be held back.
pub fn places(plan: &Plan) -> usize {
    match plan.policy.on_step_failure {
        OnStepFailure::Continue => STEPS_ACTIVE_MAX,
        OnStepFailure::Stop => (plan.cluster.step_concurrency as usize).clamp(1, STEPS_ACTIVE_MAX),
    }
}

/// What to do next with the steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextMove {
    Submit,
    Observe,
    Close,
}

/// Submits while places are free, observes while anything is open, closes when nothing is.
pub fn next_move(plan: &Plan, work: &Work, observed: &Observed) -> NextMove {
    let open = observed.unresolved().count();
    let ready = ready(plan, work, observed).len();
    let places = places(plan);
    let free = places.saturating_sub(open);
    // Refilled at half a wave.
    if ready > 0 && free > 0 && (free >= places / 2 || free >= ready) {
        NextMove::Submit
    } else if open > 0 {
        NextMove::Observe
    } else {
        NextMove::Close
    }
}

/// The wait grows by a second for so many seconds that the run lasts.
const WAIT_GROWTH_SECONDS: i64 = 100;
/// The longest wait between two looks.
pub const WAIT_SECONDS_MAX: i64 = 300;

/// Seconds until the next look: short at first, longer as the run goes on, so that the longest run fits the history.
pub fn wait_seconds(running_for: i64, shortest: i64, more_to_submit: bool) -> i64 {
    let grown = shortest + running_for.max(0) / WAIT_GROWTH_SECONDS;
    let longest = if more_to_submit {
        shortest.max(30)
    } else {
        WAIT_SECONDS_MAX
    };
    grown.min(longest)
}

/// What became of one step of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    Succeeded(StepReport),
    Failed(StepFailure),
    NoChanges,
    /// With the reason.
    NotRun(String),
}

/// One line of a run's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepAccount {
    pub name: String,
    pub end: StepEnd,
    pub seconds: i64,
}

/// The account of every enabled step, in order of name. `only` limits it, as it limits the run.
pub fn account(
    plan: &Plan,
    only: Option<&[String]>,
    work: Option<&Work>,
    observed: &Observed,
    cause: Option<&Cause>,
) -> Vec<StepAccount> {
    let wanted = |name: &str| only.is_none_or(|names| names.iter().any(|only| only == name));
    let mut accounts = Vec::new();
    for (index, step) in plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| wanted(&step.name))
    {
        let result = observed.results.get(&(index as u32));
        let seconds = result.map_or(0, |result| result.ended.seconds_since(result.started));
        let end = match result.map(|result| &result.outcome) {
            Some(StepOutcome::Succeeded(report)) => StepEnd::Succeeded(report.clone()),
            Some(StepOutcome::Failed(failure)) => StepEnd::Failed(failure.clone()),
            None => without_result(plan, index as u32, work, observed, cause),
        };
        accounts.push(StepAccount {
            name: step.name.clone(),
            end,
            seconds,
        });
    }
    for faulty in plan.faulty.iter().filter(|faulty| wanted(&faulty.name)) {
        let failure = StepFailure {
            error: "ConfigInvalid".to_owned(),
            message: faulty.problems.join("; "),
            hint: Some("mend the item, then `headwater check`".to_owned()),
            root_cause: Vec::new(),
        };
        accounts.push(StepAccount {
            name: faulty.name.clone(),
            end: StepEnd::Failed(failure),
            seconds: 0,
        });
    }
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    accounts
}

fn without_result(
    plan: &Plan,
    index: u32,
    work: Option<&Work>,
    observed: &Observed,
    cause: Option<&Cause>,
) -> StepEnd {
    let step = &plan.steps[index as usize];
    if let Some(work) = work {
        if work.no_changes.contains(&step.name) {
            return StepEnd::NoChanges;
        }
        if let Some((_, fault)) = work.faulty.iter().find(|(name, _)| *name == step.name) {
            return StepEnd::Failed(StepFailure {
                error: fault.error.clone(),
                message: fault.message.clone(),
                hint: fault.hint.clone(),
                root_cause: Vec::new(),
            });
        }
        if let Some(before) = step
            .after
            .iter()
            .find(|before| !observed.succeeded(**before))
        {
            return StepEnd::NotRun(format!(
                "`{}` did not succeed",
                plan.steps[*before as usize].name
            ));
        }
    }
    match cause {
        Some(cause) => StepEnd::NotRun(cause.error.clone()),
        None => StepEnd::NotRun("another step failed and `on_step_failure` is `stop`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names_round_trip_whatever_the_table_is_called() {
        for name in ["public.orders", "odd-a3-name", "a b.c-d", ""] {
            assert_eq!(parse_step_name(&step_name(41, 2, name)), Some((41, 2)));
        }
        assert_eq!(parse_step_name("Setup hadoop debugging"), None);
    }

    /// Events that Step Functions keeps for one execution, and those of a round of Wait, Task and Choice.
    const HISTORY_EVENTS_MAX: i64 = 25_000;
    const EVENTS_PER_ROUND: i64 = 9;

    #[test]
    fn the_longest_run_fits_the_history() {
        for (shortest, days) in [(1, 7), (30, 7)] {
            let (mut elapsed, mut rounds) = (0, 0);
            while elapsed < days * 86_400 {
                elapsed += wait_seconds(elapsed, shortest, false);
                rounds += 1;
            }
            assert!(
                rounds * EVENTS_PER_ROUND < HISTORY_EVENTS_MAX,
                "{rounds} rounds with {shortest} s at first"
            );
        }
    }
}
