//! `check-status`: one look at steps and cluster, and what follows from it.

use crate::Settings;
use crate::cluster::terminal;
use crate::error::TaskError;
use crate::observe::{Seen, observe, recorded};
use crate::port::{Clock, ClusterDescription, Clusters, Ledger, Objects};
use crate::state::{Begun, Decision, Live, State, TaskInput, begin};
use crate::submit_steps::bound;
use pipeline::progress::{NextMove, next_move, ready, wait_seconds};
use pipeline::run::Cause;

/// Clusters of one run that ended by a fault of the infrastructure, after which the run is given up.
const CLUSTERS_LOST_MAX: usize = 2;

pub async fn run(
    ports: &(impl Ledger + Objects + Clusters + Clock),
    settings: &Settings,
    input: &TaskInput,
) -> Result<State, TaskError> {
    let live = match begin(ports, input).await? {
        Begun::Live(live) => live,
        Begun::Over(state) => return Ok(state),
    };
    let (cluster_id, cluster_attempt) = bound(&live)?;
    let plan = live.frozen(ports).await?.plan;
    let work = live.work(ports).await?;
    let cluster = ports.describe_cluster(&cluster_id).await?;
    if cluster
        .as_ref()
        .is_none_or(|cluster| terminal(&cluster.state))
    {
        // Results only: what a lost cluster says of its steps is not why they did not end.
        let (observed, _) = recorded(ports, &live.run.value.run_id).await?;
        return match next_move(&plan, &work, &observed) {
            NextMove::Close => Ok(State::of(&live.run.value, Decision::Close)),
            NextMove::Submit | NextMove::Observe => cluster_lost(ports, *live, cluster).await,
        };
    }
    let seen = observe(ports, &live.run.value, &plan, &cluster_id, cluster_attempt).await?;
    let decision = match next_move(&plan, &work, &seen.observed) {
        NextMove::Submit => Decision::Submit,
        NextMove::Observe if needs_submission(&seen) => Decision::Submit,
        NextMove::Observe => Decision::Observe,
        NextMove::Close => Decision::Close,
    };
    let running_for = live
        .run
        .value
        .admitted
        .map_or(0, |admitted| live.now.seconds_since(admitted));
    let more = !ready(&plan, &work, &seen.observed).is_empty();
    Ok(State::of(&live.run.value, decision).wait(wait_seconds(
        running_for,
        settings.poll_seconds,
        more,
    )))
}

fn needs_submission(seen: &Seen) -> bool {
    !seen.lost.is_empty() || !seen.cut_off.is_empty()
}

/// The cluster has ended before its steps: once more for faults of the infrastructure, else the run is given up.
async fn cluster_lost(
    ledger: &impl Ledger,
    mut live: Live,
    cluster: Option<ClusterDescription>,
) -> Result<State, TaskError> {
    let before = live.run.clone();
    let code = cluster
        .as_ref()
        .and_then(|cluster| cluster.reason_code.clone())
        .unwrap_or_else(|| "unknown".into());
    let reason = cluster
        .and_then(|cluster| cluster.reason)
        .unwrap_or_else(|| "the cluster gives no reason".into());
    let run = &mut live.run.value;
    if let Some(record) = run.clusters.last_mut() {
        record.closed = Some(live.now);
        record.reason = Some(format!("{code}: {reason}"));
    }
    let lost = run
        .clusters
        .iter()
        .filter(|cluster| cluster.id.is_some())
        .count();
    let decision = if infrastructure(&code) && lost < CLUSTERS_LOST_MAX {
        Decision::Relaunch
    } else {
        run.blame(Cause::new(
            "ClusterLost",
            format!("the cluster ended before its steps: {code}: {reason}"),
        ));
        Decision::Close
    };
    ledger.write(&[before.replace(&live.run.value)]).await?;
    Ok(State::of(&live.run.value, decision))
}

/// EMR's reason codes that speak of its machines, not of our request or of a person.
fn infrastructure(code: &str) -> bool {
    matches!(
        code,
        "INTERNAL_ERROR" | "INSTANCE_FAILURE" | "INSTANCE_FLEET_TIMEOUT" | "BOOTSTRAP_FAILURE"
    )
}
