//! EMR in memory: clusters and steps with their states, moved on by the virtual clock. It refuses what EMR refuses.

use crate::world::World;
use pipeline::plan::ClusterSpec;
use pipeline::progress::STEPS_ACTIVE_MAX;
use pipeline::time::Timestamp;
use tasks::limits;
use tasks::port::{
    Clock, ClusterDescription, ClusterState, ClusterSummary, Clusters, PortError, StepRequest,
    StepState, StepSummary,
};

/// Seconds from RunJobFlow to the first step.
const START_SECONDS: i64 = 240;
/// Seconds from TerminateJobFlows to TERMINATED.
const TERMINATION_SECONDS: i64 = 120;

pub struct Cluster {
    pub id: String,
    pub name: String,
    pub state: ClusterState,
    pub reason_code: Option<String>,
    pub created: Timestamp,
    /// When TERMINATING becomes TERMINATED; `None` while not terminating, or never.
    pub terminates: Option<Timestamp>,
    /// Termination never completes.
    pub stuck: bool,
    pub idle_since: Timestamp,
    pub spec: ClusterSpec,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub id: String,
    pub request: StepRequest,
    pub state: StepState,
    pub failure: Option<String>,
    /// When a running step ends.
    pub ends: Option<Timestamp>,
    pub started: Timestamp,
}

impl Cluster {
    pub fn over(&self) -> bool {
        matches!(
            self.state,
            ClusterState::Terminated | ClusterState::TerminatedWithErrors
        )
    }

    pub fn active(&self) -> bool {
        !self.over() && self.state != ClusterState::Terminating
    }

    /// Ends the cluster, and every step with it.
    pub fn end(&mut self, state: ClusterState, reason_code: &str) {
        self.state = state;
        self.reason_code.get_or_insert(reason_code.to_owned());
        for step in &mut self.steps {
            match step.state {
                StepState::Pending => step.state = StepState::Cancelled,
                StepState::Running | StepState::CancelPending => {
                    step.state = StepState::Interrupted
                }
                _ => {}
            }
        }
    }
}

fn refused(message: impl Into<String>) -> PortError {
    PortError::Refused {
        service: "EMR",
        message: message.into(),
    }
}

fn open(state: &StepState) -> bool {
    matches!(
        state,
        StepState::Pending | StepState::Running | StepState::CancelPending
    )
}

impl Clusters for World {
    async fn create_cluster(
        &self,
        name: &str,
        spec: &ClusterSpec,
        _tags: &[(String, String)],
    ) -> Result<String, PortError> {
        self.faulty("EMR", "clusters.create", "", || {
            let mut clusters = self.clusters.borrow_mut();
            let id = format!("j-{:05}", clusters.len() + 1);
            self.note(|| format!("cluster created {id} {name}"));
            clusters.push(Cluster {
                id: id.clone(),
                name: name.to_owned(),
                state: ClusterState::Starting,
                reason_code: None,
                created: self.now(),
                terminates: None,
                stuck: false,
                idle_since: self.now(),
                spec: spec.clone(),
                steps: Vec::new(),
            });
            Ok(id)
        })
    }

    async fn list_clusters(
        &self,
        created_since: Timestamp,
    ) -> Result<Vec<ClusterSummary>, PortError> {
        self.faulty("EMR", "clusters.list", "", || {
            let clusters = self.clusters.borrow();
            Ok(clusters
                .iter()
                .filter(|cluster| cluster.created >= created_since)
                .map(summary)
                .collect())
        })
    }

    async fn describe_cluster(&self, id: &str) -> Result<Option<ClusterDescription>, PortError> {
        self.faulty("EMR", "clusters.describe", "", || {
            let clusters = self.clusters.borrow();
            Ok(clusters
                .iter()
                .find(|cluster| cluster.id == id)
                .map(|cluster| ClusterDescription {
                    id: cluster.id.clone(),
                    name: cluster.name.clone(),
                    state: cluster.state.clone(),
                    reason_code: cluster.reason_code.clone(),
                    reason: None,
                }))
        })
    }

    async fn add_steps(&self, id: &str, steps: &[StepRequest]) -> Result<Vec<String>, PortError> {
        self.faulty("EMR", "clusters.add_steps", "", || {
            limits::check_steps("EMR", steps)?;
            let now = self.now();
            self.on_cluster(id, |cluster| {
                if !cluster.active() {
                    return Err(refused(format!("A job flow that is shutting down, terminated, or finished may not be modified: {id}")));
                }
                let active = cluster.steps.iter().filter(|step| open(&step.state)).count();
                if active + steps.len() > STEPS_ACTIVE_MAX {
                    return Err(refused("Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') for cluster exceeded"));
                }
                let mut ids = Vec::new();
                for request in steps {
                    let step_id = format!("s-{id}-{}", cluster.steps.len() + 1);
                    ids.push(step_id.clone());
                    let request = request.clone();
                    cluster.steps.push(Step {
                        id: step_id,
                        request,
                        state: StepState::Pending,
                        failure: None,
                        ends: None,
                        started: now,
                    });
                }
                Ok(ids)
            })
        })
    }

    async fn list_steps(
        &self,
        id: &str,
        states: &[StepState],
    ) -> Result<Vec<StepSummary>, PortError> {
        self.faulty("EMR", "clusters.list_steps", "", || {
            self.on_cluster(id, |cluster| {
                let wanted = |step: &&Step| states.is_empty() || states.contains(&step.state);
                Ok(cluster
                    .steps
                    .iter()
                    .rev()
                    .filter(wanted)
                    .map(step_summary)
                    .collect())
            })
        })
    }

    async fn cancel_steps(&self, id: &str, step_ids: &[String]) -> Result<(), PortError> {
        self.faulty("EMR", "clusters.cancel_steps", "", || {
            self.on_cluster(id, |cluster| {
                for step in cluster
                    .steps
                    .iter_mut()
                    .filter(|step| step_ids.contains(&step.id))
                {
                    match step.state {
                        StepState::Pending => step.state = StepState::Cancelled,
                        StepState::Running => step.state = StepState::CancelPending,
                        _ => {}
                    }
                }
                Ok(())
            })
        })
    }

    async fn terminate_cluster(&self, id: &str) -> Result<(), PortError> {
        self.faulty("EMR", "clusters.terminate", "", || {
            let now = self.now();
            self.note(|| format!("cluster terminate {id}"));
            self.on_cluster(id, |cluster| {
                if cluster.active() {
                    cluster.state = ClusterState::Terminating;
                    cluster.reason_code = Some("USER_REQUEST".to_owned());
                    cluster.terminates =
                        (!cluster.stuck).then(|| now.plus_seconds(TERMINATION_SECONDS));
                }
                Ok(())
            })
        })
    }
}

fn summary(cluster: &Cluster) -> ClusterSummary {
    ClusterSummary {
        id: cluster.id.clone(),
        name: cluster.name.clone(),
        state: cluster.state.clone(),
        created: cluster.created,
    }
}

fn step_summary(step: &Step) -> StepSummary {
    StepSummary {
        id: step.id.clone(),
        name: step.request.name.clone(),
        state: step.state.clone(),
        failure: step.failure.clone(),
    }
}

impl World {
    fn on_cluster<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut Cluster) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        let mut clusters = self.clusters.borrow_mut();
        match clusters.iter_mut().find(|cluster| cluster.id == id) {
            Some(cluster) => act(cluster),
            None => Err(refused(format!("Cluster id '{id}' is not valid."))),
        }
    }

    /// Moves the clusters' own states on to the present moment.
    pub(crate) fn move_clusters(&self) {
        let now = self.now();
        for cluster in self.clusters.borrow_mut().iter_mut() {
            if cluster.state == ClusterState::Starting
                && now.seconds_since(cluster.created) >= START_SECONDS
            {
                cluster.state = ClusterState::Waiting;
                cluster.idle_since = now;
            }
            if cluster.terminates.is_some_and(|at| now >= at) && !cluster.over() {
                cluster.end(ClusterState::Terminated, "USER_REQUEST");
            }
            if cluster.steps.iter().any(|step| open(&step.state)) {
                cluster.idle_since = now;
            }
            let idle = now.seconds_since(cluster.idle_since);
            if cluster.state == ClusterState::Waiting
                && idle >= i64::from(cluster.spec.idle_timeout_seconds)
            {
                cluster.end(ClusterState::Terminated, "ALL_STEPS_COMPLETED");
            }
        }
    }
}
