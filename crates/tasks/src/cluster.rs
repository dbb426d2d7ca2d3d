//! What several tasks ask of a run's cluster: find it by its name, see whether it has ended.

use crate::error::TaskError;
use crate::port::{ClusterState, ClusterSummary, Clusters};
use pipeline::time::Timestamp;

/// A listing may miss clusters that change state meanwhile: absence counts after so many complete ones.
const LISTINGS_FOR_ABSENCE: u32 = 2;
/// A cluster is looked for from a little before its intent: the clocks are not the same.
const CLOCK_MARGIN_SECONDS: i64 = 300;

pub fn terminal(state: &ClusterState) -> bool {
    match state {
        ClusterState::Terminated | ClusterState::TerminatedWithErrors => true,
        ClusterState::Starting
        | ClusterState::Bootstrapping
        | ClusterState::Running
        | ClusterState::Waiting
        | ClusterState::Terminating
        | ClusterState::Unrecognised(_) => false,
    }
}

/// All clusters of this name created since then; none only after two complete listings without it.
pub async fn by_name(
    clusters: &impl Clusters,
    name: &str,
    intended: Timestamp,
) -> Result<Vec<ClusterSummary>, TaskError> {
    for _ in 0..LISTINGS_FOR_ABSENCE {
        let mut found = clusters
            .list_clusters(intended.plus_seconds(-CLOCK_MARGIN_SECONDS))
            .await?;
        found.retain(|cluster| cluster.name == name);
        if !found.is_empty() {
            found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
            return Ok(found);
        }
    }
    Ok(Vec::new())
}
