//! Walks executions through the real definition with the real tasks, in virtual time.

use crate::worker::at_once;
use crate::world::World;
use asl::{Action, Execution, Machine, Moment, Start, Status, TaskRequest};
use pipeline::time::Timestamp;
use std::collections::BTreeMap;
use tasks::port::{Clock, ExecutionDescription, ExecutionStatus};
use tasks::{Settings, dispatch};

/// The longest step of the clock while a cluster lives.
const CLOCK_STEP_SECONDS: i64 = 10;

/// Executions of one world, and where each stands.
pub struct Simulation<'a> {
    pub world: &'a World,
    pub settings: Settings,
    machine: Machine,
    standing: BTreeMap<String, Execution>,
    /// States entered, by execution, in order.
    pub visited: BTreeMap<String, Vec<String>>,
}

impl<'a> Simulation<'a> {
    pub fn new(world: &'a World, settings: Settings, machine: Machine) -> Self {
        Self {
            world,
            settings,
            machine,
            standing: BTreeMap::new(),
            visited: BTreeMap::new(),
        }
    }

    /// Runs until no execution is running and no cluster is alive, or until this moment.
    pub fn run_until(&mut self, end: Timestamp) {
        loop {
            self.world.tick();
            if self.move_executions() {
                continue;
            }
            let Some(next) = self.next_moment().filter(|next| *next <= end) else {
                return;
            };
            self.world.advance_to(next);
        }
    }

    /// The sweep, as its schedule runs it.
    pub fn sweep(&self) -> Result<tasks::sweep::Swept, tasks::error::TaskError> {
        self.world
            .as_task("sweep", || {
                at_once(tasks::sweep::run(self.world, &self.settings))
            })
            .unwrap_or_else(|| Ok(Default::default()))
    }

    /// Moves every execution that can move now; whether any did.
    fn move_executions(&mut self) -> bool {
        let running: Vec<ExecutionDescription> = self
            .world
            .executions
            .borrow()
            .iter()
            .filter(|execution| execution.status == ExecutionStatus::Running)
            .cloned()
            .collect();
        let moved = running
            .iter()
            .filter(|execution| self.move_execution(execution))
            .count();
        moved > 0
    }

    fn move_execution(&mut self, description: &ExecutionDescription) -> bool {
        let now = Moment(self.world.now().0);
        let name = &description.name;
        let Some(execution) = self.standing.get_mut(name) else {
            return self.begin(description, now);
        };
        match execution.action(&self.machine) {
            Action::WaitUntil(until) if until > now => false,
            Action::WaitUntil(_) => {
                execution.time_passed(&self.machine, now);
                true
            }
            Action::RunTask(task) => {
                self.visited
                    .entry(name.clone())
                    .or_default()
                    .push(task.state.clone());
                self.run_task(name, task);
                true
            }
            Action::Finished(outcome) => {
                let status = match outcome.status {
                    Status::Succeeded => ExecutionStatus::Succeeded,
                    Status::Failed => ExecutionStatus::Failed,
                    Status::TimedOut => ExecutionStatus::TimedOut,
                    Status::Aborted => ExecutionStatus::Aborted,
                };
                self.world.end_execution(name, status);
                true
            }
        }
    }

    fn begin(&mut self, description: &ExecutionDescription, now: Moment) -> bool {
        let start = Start {
            name: description.name.clone(),
            id: description.name.clone(),
            input: description.input.clone(),
            now,
            ..Start::default()
        };
        match Execution::start(&self.machine, start) {
            Ok(execution) => {
                self.standing.insert(description.name.clone(), execution);
            }
            Err(_) => self
                .world
                .end_execution(&description.name, ExecutionStatus::Failed),
        }
        true
    }

    fn run_task(&mut self, name: &str, task: TaskRequest) {
        let word = word(&task.resource);
        let answer = self.world.as_task(&word, || {
            at_once(dispatch(self.world, &self.settings, &word, task.input))
        });
        let now = Moment(self.world.now().0);
        let Some(execution) = self.standing.get_mut(name) else {
            return;
        };
        let told = match answer {
            Some(Ok(output)) => execution.task_succeeded(&self.machine, task.token, output, now),
            Some(Err(error)) => execution.task_failed(
                &self.machine,
                task.token,
                error.name(),
                &error.to_string(),
                now,
            ),
            None => execution.task_failed(
                &self.machine,
                task.token,
                "Lambda.Unknown",
                "the task waits",
                now,
            ),
        };
        if let Err(stale) = told {
            self.world.note(|| format!("execution {name}: {stale}"));
        }
    }

    /// The next moment at which anything can happen.
    fn next_moment(&mut self) -> Option<Timestamp> {
        let now = self.world.now();
        let running: Vec<String> = self
            .world
            .executions
            .borrow()
            .iter()
            .filter(|execution| execution.status == ExecutionStatus::Running)
            .map(|execution| execution.name.clone())
            .collect();
        let waits = running.iter().filter_map(|name| {
            match self.standing.get_mut(name)?.action(&self.machine) {
                Action::WaitUntil(until) => Some(Timestamp(until.0)),
                Action::RunTask(_) | Action::Finished(_) => Some(now),
            }
        });
        let waits = waits.min();
        let alive = self
            .world
            .clusters
            .borrow()
            .iter()
            .any(|cluster| !cluster.over());
        let tick = alive.then(|| now.plus_seconds(CLOCK_STEP_SECONDS));
        waits.into_iter().chain(tick).min()
    }
}

/// The task's word from its resource: `${BuildClusterFunctionArn}` is `build-cluster`.
pub fn word(resource: &str) -> String {
    let name = resource
        .trim_start_matches("${")
        .trim_end_matches('}')
        .trim_end_matches("FunctionArn");
    let mut word = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}
