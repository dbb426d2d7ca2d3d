//! The worker of the simulation: claims, takes its time, writes its result, as `headwater-worker` does.

use crate::world::World;
use pipeline::report::{StepFailure, StepOutcome, StepReport, StepResult};
use pipeline::run::{FileRef, cluster_run};
use pipeline::time::Timestamp;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tasks::port::{Clock, ClusterState, StepState};
use tasks::step::{claim, read_plan, record_result};

/// How a step behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub seconds: i64,
    pub end: End,
}

#[derive(Debug, Clone)]
pub enum End {
    Succeeds {
        rows: u64,
    },
    Fails {
        error: &'static str,
    },
    /// Killed: no result, and the cluster says FAILED.
    Vanishes,
    /// Says COMPLETED without having written a result.
    ForgetsResult,
    /// Runs until somebody ends it.
    Hangs,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            seconds: 60,
            end: End::Succeeds { rows: 10 },
        }
    }
}

/// The answer of a future that never waits: simulated ports answer at once.
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

struct Running {
    cluster: usize,
    step: usize,
    plan: FileRef,
    index: u32,
    attempt: u32,
    started: Timestamp,
}

impl World {
    /// Moves clusters and steps on to the present moment: ends what is due, starts what may start.
    pub fn tick(&self) {
        self.move_clusters();
        for running in self.due() {
            self.end_step(&running);
        }
        while let Some(running) = self.startable() {
            self.start_step(&running);
        }
        self.move_clusters();
    }

    fn steps(
        &self,
        wanted: impl Fn(&crate::clusters::Cluster, &crate::clusters::Step) -> bool,
    ) -> Vec<Running> {
        let mut found = Vec::new();
        for (at, cluster) in self.clusters.borrow().iter().enumerate() {
            for (step_at, step) in cluster
                .steps
                .iter()
                .enumerate()
                .filter(|(_, step)| wanted(cluster, step))
            {
                let argument = |name: &str| {
                    let arguments = &step.request.arguments;
                    let at = arguments.iter().position(|argument| argument == name);
                    at.and_then(|at| arguments.get(at + 1))
                        .cloned()
                        .unwrap_or_default()
                };
                found.push(Running {
                    cluster: at,
                    step: step_at,
                    plan: FileRef {
                        uri: argument("--plan"),
                        sha256: argument("--sha256"),
                    },
                    index: argument("--index").parse().unwrap_or(u32::MAX),
                    attempt: argument("--attempt").parse().unwrap_or(u32::MAX),
                    started: step.started,
                });
            }
        }
        found
    }

    fn due(&self) -> Vec<Running> {
        let now = self.now();
        self.steps(|cluster, step| {
            !cluster.over()
                && step.state == StepState::Running
                && step.ends.is_some_and(|ends| now >= ends)
        })
    }

    fn startable(&self) -> Option<Running> {
        let free = |cluster: &crate::clusters::Cluster| {
            let running = cluster
                .steps
                .iter()
                .filter(|step| step.state == StepState::Running)
                .count();
            running < cluster.spec.step_concurrency as usize
        };
        let ready =
            |state: &ClusterState| matches!(state, ClusterState::Waiting | ClusterState::Running);
        self.steps(|cluster, step| {
            ready(&cluster.state) && free(cluster) && step.state == StepState::Pending
        })
        .into_iter()
        .next()
    }

    fn behaviour(&self, running: &Running) -> Behaviour {
        let clusters = self.clusters.borrow();
        let name = &clusters[running.cluster].steps[running.step].request.name;
        let step = name.splitn(3, '-').nth(2).unwrap_or_default();
        self.behaviours
            .borrow()
            .get(step)
            .cloned()
            .unwrap_or_default()
    }

    fn set(&self, running: &Running, state: StepState, ends: Option<Timestamp>) {
        let mut clusters = self.clusters.borrow_mut();
        let step = &mut clusters[running.cluster].steps[running.step];
        step.started = self.now();
        step.state = state;
        step.ends = ends;
    }

    fn start_step(&self, running: &Running) {
        let frozen = at_once(read_plan(self, &running.plan));
        let claimed = match frozen {
            Some(Ok(frozen)) => {
                at_once(claim(self, &frozen.run_id, running.index, running.attempt))
            }
            Some(Err(_)) | None => None,
        };
        if !matches!(claimed, Some(Ok(_))) {
            self.note(|| format!("step {} a{} was not let in", running.index, running.attempt));
            self.set(running, StepState::Failed, None);
            return;
        }
        let behaviour = self.behaviour(running);
        let ends = match behaviour.end {
            End::Hangs => None,
            _ => Some(self.now().plus_seconds(behaviour.seconds)),
        };
        self.set(running, StepState::Running, ends);
    }

    fn end_step(&self, running: &Running) {
        let behaviour = self.behaviour(running);
        let outcome = match behaviour.end {
            End::Succeeds { rows } => StepOutcome::Succeeded(StepReport {
                rows,
                ..StepReport::default()
            }),
            End::Fails { error } => StepOutcome::Failed(StepFailure {
                error: error.to_owned(),
                message: "as scripted".to_owned(),
                hint: None,
                root_cause: Vec::new(),
            }),
            End::Vanishes | End::Hangs => return self.set(running, StepState::Failed, None),
            End::ForgetsResult => return self.set(running, StepState::Completed, None),
        };
        let failed = matches!(outcome, StepOutcome::Failed(_));
        let recorded = self
            .result(running, outcome)
            .map(|result| at_once(record_result(self, &result)));
        let state = if failed || !matches!(recorded, Some(Some(Ok(())))) {
            StepState::Failed
        } else {
            StepState::Completed
        };
        self.set(running, state, None);
    }

    fn result(&self, running: &Running, outcome: StepOutcome) -> Option<StepResult> {
        let name = self.clusters.borrow()[running.cluster].name.clone();
        let stack = name.split(':').next()?;
        let (run_id, _) = cluster_run(stack, &name)?;
        Some(StepResult {
            schema_version: 1,
            run_id: run_id.to_owned(),
            index: running.index,
            name: self.step_name(running),
            attempt: running.attempt,
            started: running.started,
            ended: self.now(),
            outcome,
        })
    }

    fn step_name(&self, running: &Running) -> String {
        let clusters = self.clusters.borrow();
        let name = &clusters[running.cluster].steps[running.step].request.name;
        name.splitn(3, '-').nth(2).unwrap_or_default().to_owned()
    }
}
