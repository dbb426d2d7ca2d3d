//! `build-cluster`: one cluster for the run. The intent is written first; in doubt the cluster is looked for by its name.

use crate::cluster::{by_name, terminal};
use crate::error::TaskError;
use crate::port::{Clock, Clusters, Ledger, Objects, PortError, WriteError};
use crate::record::{self, Versioned};
use crate::state::{Begun, Decision, State, TaskInput, begin};
use pipeline::plan::Frozen;
use pipeline::run::{Cause, ClusterRecord, Run, cluster_name};
use pipeline::time::Timestamp;

/// Attempts to have a cluster, ambiguous ones and relaunches together.
const CLUSTER_ATTEMPTS_MAX: u32 = 6;

pub async fn run(
    ports: &(impl Ledger + Objects + Clusters + Clock),
    stack: &str,
    input: &TaskInput,
) -> Result<State, TaskError> {
    let live = match begin(ports, input).await? {
        Begun::Live(live) => live,
        Begun::Over(state) => return Ok(state),
    };
    let frozen = live.frozen(ports).await?;
    let run = live.run;
    match run.value.cluster().cloned() {
        Some(ClusterRecord {
            closed: None,
            id: Some(_),
            ..
        }) => Ok(State::of(&run.value, Decision::Ready)),
        Some(
            open @ ClusterRecord {
                closed: None,
                id: None,
                ..
            },
        ) => settle(ports, run, &open, live.now).await,
        Some(ClusterRecord {
            closed: Some(_), ..
        })
        | None => attempt(ports, stack, run, &frozen, live.now).await,
    }
}

/// An intent without an answer: adopt the cluster that came of it, or close it, and try again in the next call.
async fn settle(
    ports: &(impl Ledger + Clusters),
    run: Versioned<Run>,
    open: &ClusterRecord,
    now: Timestamp,
) -> Result<State, TaskError> {
    let mut found = by_name(ports, &open.name, open.intended).await?.into_iter();
    let mut after = run.value.clone();
    let decision = match found.next() {
        Some(first) => {
            for surplus in found.filter(|cluster| !terminal(&cluster.state)) {
                ports.terminate_cluster(&surplus.id).await?;
            }
            last(&mut after)?.id = Some(first.id);
            Decision::Ready
        }
        None => {
            let record = last(&mut after)?;
            record.closed = Some(now);
            record.reason = Some("no cluster came of it".to_owned());
            Decision::Wait
        }
    };
    ports.write(&[run.replace(&after)]).await?;
    Ok(State::of(&after, decision).wait(1))
}

/// Writes the next intent, asks once, binds the answer.
async fn attempt(
    ports: &(impl Ledger + Clusters),
    stack: &str,
    run: Versioned<Run>,
    frozen: &Frozen,
    now: Timestamp,
) -> Result<State, TaskError> {
    let number = run.value.cluster().map_or(1, |cluster| cluster.attempt + 1);
    let mut after = run.value.clone();
    if number > CLUSTER_ATTEMPTS_MAX {
        after.blame(Cause::new(
            "NoCluster",
            format!("no cluster in {CLUSTER_ATTEMPTS_MAX} attempts"),
        ));
        ports.write(&[run.replace(&after)]).await?;
        return Ok(State::of(&after, Decision::Close));
    }
    let name = cluster_name(stack, &after.run_id, number);
    after.clusters.push(ClusterRecord {
        attempt: number,
        name: name.clone(),
        intended: now,
        id: None,
        closed: None,
        reason: None,
    });
    ports.write(&[run.replace(&after)]).await?;
    match ports
        .create_cluster(&name, &frozen.plan.cluster, &tags(&after))
        .await
    {
        Ok(id) => bind(ports, &after.run_id, &name, id).await,
        Err(PortError::Refused { message, .. }) => {
            refused(ports, &after.run_id, &name, message, now).await
        }
        // Throttled or without an answer: the next call settles the intent.
        Err(error) => Err(error.into()),
    }
}

fn tags(run: &Run) -> Vec<(String, String)> {
    [
        ("headwater:run", &run.run_id),
        ("headwater:identifier", &run.input.identifier),
    ]
    .map(|(key, value)| (key.to_owned(), value.clone()))
    .to_vec()
}

/// Binds the cluster to the run, if the intent is still open; the loser is terminated.
async fn bind(
    ports: &(impl Ledger + Clusters),
    run_id: &str,
    name: &str,
    id: String,
) -> Result<State, TaskError> {
    loop {
        let run = record::get_run(ports, run_id).await?;
        let mut after = run.value.clone();
        let open = after
            .clusters
            .iter_mut()
            .find(|cluster| cluster.name == name && cluster.closed.is_none());
        match open {
            Some(cluster) if cluster.id.is_none() => cluster.id = Some(id.clone()),
            Some(cluster) if cluster.id.as_ref() == Some(&id) => {
                return Ok(State::of(&run.value, Decision::Ready));
            }
            Some(_) | None => {
                ports.terminate_cluster(&id).await?;
                return Err(TaskError::Conflict(format!(
                    "another attempt of `{run_id}` has its cluster"
                )));
            }
        }
        match ports.write(&[run.replace(&after)]).await {
            Ok(()) => return Ok(State::of(&after, Decision::Ready)),
            Err(WriteError::Conflict(_)) => continue,
            Err(WriteError::Port(error)) => return Err(error.into()),
        }
    }
}

/// EMR will never give this cluster: that is the run's fault.
async fn refused(
    ledger: &impl Ledger,
    run_id: &str,
    name: &str,
    message: String,
    now: Timestamp,
) -> Result<State, TaskError> {
    let run = record::get_run(ledger, run_id).await?;
    let mut after = run.value.clone();
    for cluster in after
        .clusters
        .iter_mut()
        .filter(|cluster| cluster.name == name)
    {
        cluster.closed = Some(now);
        cluster.reason = Some(message.clone());
    }
    after.blame(Cause::new("ClusterRefused", message));
    ledger.write(&[run.replace(&after)]).await?;
    Ok(State::of(&after, Decision::Close))
}

fn last(run: &mut Run) -> Result<&mut ClusterRecord, TaskError> {
    run.clusters
        .last_mut()
        .ok_or_else(|| TaskError::Corrupt("the run has no cluster record".to_owned()))
}
