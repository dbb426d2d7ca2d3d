//! What clusters must do, whoever has them: EMR's behaviour as far as tasks rely on it.
//!
//! moto shares a part: its clusters are WAITING at once, the first step is RUNNING for ever and the others PENDING, it refuses no step,
//! fails with 500 where EMR says that there is no such cluster, and has no CancelSteps. What it lacks of the contract
//! is shown of the adapter by `replayed`, from exchanges in EMR's form.

use crate::golden;
use crate::moto;
use crate::programs::program;
use crate::wire::nowhere;
use aws::Aws;
use pipeline::plan::ClusterSpec;
use pipeline::progress::STEPS_ACTIVE_MAX;
use pipeline::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use tasks::cluster::terminal;
use tasks::port::{Clock, Clusters, PortError, StepRequest, StepState};

/// Looks at something that takes its time; in virtual time each takes half a minute.
const LOOKS_MAX: u32 = 2_000;

/// The whole contract. `pass` lets a little time pass.
pub async fn keeps_the_contract<C: Clusters + Clock>(
    empty: impl AsyncFn() -> C,
    pass: impl AsyncFn(&C),
) {
    keeps_what_emulators_share(&empty, &pass).await;
    what_is_not_there_is_refused(&empty().await).await;
    what_is_too_much_is_refused(&empty().await, &pass).await;
    a_terminated_cluster_takes_no_steps(&empty().await, &pass).await;
    a_pending_step_is_dropped_and_the_others_are_left(&empty().await, &pass).await;
}

/// What moto does as well.
pub async fn keeps_what_emulators_share<C: Clusters + Clock>(
    empty: impl AsyncFn() -> C,
    pass: impl AsyncFn(&C),
) {
    a_cluster_is_listed_and_described(&empty().await, &pass).await;
    each_request_makes_a_cluster(&empty().await, &pass).await;
    a_listing_begins_at_its_moment(&empty().await, &pass).await;
    steps_are_listed_newest_first_and_by_state(&empty().await, &pass).await;
    terminating_twice_is_harmless(&empty().await, &pass).await;
}

/// One step at a time.
fn spec() -> ClusterSpec {
    let mut spec = golden::cluster_of("jdbc_load_native");
    spec.step_concurrency = 1;
    spec.run_job_flow["StepConcurrencyLevel"] = 1.into();
    spec
}

/// A step that runs until it is ended.
fn step(name: &str) -> StepRequest {
    StepRequest {
        name: name.to_owned(),
        arguments: vec!["sleep".to_owned(), "600".to_owned()],
    }
}

async fn made(clusters: &impl Clusters, name: &str) -> String {
    let tags = [("headwater:run".to_owned(), name.to_owned())];
    clusters
        .create_cluster(name, &spec(), &tags)
        .await
        .expect("created")
}

/// Ends a cluster and waits for its end: nothing of a story stays behind.
async fn ended<C: Clusters>(clusters: &C, id: &str, pass: impl AsyncFn(&C)) {
    clusters.terminate_cluster(id).await.expect("terminated");
    for _ in 0..LOOKS_MAX {
        let cluster = clusters.describe_cluster(id).await.expect("described");
        if terminal(&cluster.expect("there").state) {
            return;
        }
        pass(clusters).await;
    }
    panic!("cluster `{id}` never ended");
}

fn refused<T: std::fmt::Debug>(answer: Result<T, PortError>) {
    assert!(
        matches!(answer, Err(PortError::Refused { .. })),
        "{answer:?}"
    );
}

async fn a_cluster_is_listed_and_described<C: Clusters + Clock>(
    clusters: &C,
    pass: impl AsyncFn(&C),
) {
    let before = clusters.now().plus_seconds(-1);
    assert_eq!(clusters.describe_cluster("j-1ABCDEFGHIJKL").await, Ok(None));
    let id = made(clusters, "stack:run-c1").await;
    let listed = clusters.list_clusters(before).await.expect("listed");
    let own = listed.iter().find(|cluster| cluster.id == id);
    let own = own.expect("it is listed");
    assert_eq!(own.name, "stack:run-c1");
    assert!(own.created >= before && own.created <= clusters.now().plus_seconds(1));
    assert!(!terminal(&own.state));
    let described = clusters.describe_cluster(&id).await.expect("described");
    let described = described.expect("there");
    assert_eq!((&described.id, &described.name), (&own.id, &own.name));
    assert!(!terminal(&described.state));
    ended(clusters, &id, pass).await;
}

async fn each_request_makes_a_cluster<C: Clusters>(clusters: &C, pass: impl AsyncFn(&C)) {
    let ids = [
        made(clusters, "stack:twice-c1").await,
        made(clusters, "stack:twice-c1").await,
    ];
    assert_ne!(ids[0], ids[1]);
    let listed = clusters.list_clusters(Timestamp(0)).await.expect("listed");
    let named = listed
        .iter()
        .filter(|cluster| cluster.name == "stack:twice-c1");
    let named: BTreeSet<&String> = named.map(|cluster| &cluster.id).collect();
    assert_eq!(named, ids.iter().collect());
    for id in &ids {
        ended(clusters, id, &pass).await;
    }
}

async fn a_listing_begins_at_its_moment<C: Clusters + Clock>(clusters: &C, pass: impl AsyncFn(&C)) {
    let id = made(clusters, "stack:early-c1").await;
    let later = clusters.now().plus_seconds(60);
    let listed = clusters.list_clusters(later).await.expect("listed");
    assert!(listed.iter().all(|cluster| cluster.id != id), "{listed:?}");
    ended(clusters, &id, pass).await;
}

async fn steps_are_listed_newest_first_and_by_state<C: Clusters>(
    clusters: &C,
    pass: impl AsyncFn(&C),
) {
    let id = made(clusters, "stack:steps-c1").await;
    assert_eq!(clusters.list_steps(&id, &[]).await, Ok(vec![]));
    let mut ids = clusters
        .add_steps(&id, &[step("1#1"), step("2#1")])
        .await
        .expect("added");
    ids.extend(
        clusters
            .add_steps(&id, &[step("3#1")])
            .await
            .expect("added"),
    );
    let listed = clusters.list_steps(&id, &[]).await.expect("listed");
    let listed: Vec<(&str, &str)> = listed
        .iter()
        .rev()
        .map(|step| (step.id.as_str(), step.name.as_str()))
        .collect();
    let added: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(
        listed,
        [(added[0], "1#1"), (added[1], "2#1"), (added[2], "3#1")]
    );
    let open = [StepState::Pending, StepState::Running];
    let open = clusters.list_steps(&id, &open).await.expect("listed");
    assert_eq!(open.len(), 3);
    assert!(open.iter().all(|step| step.failure.is_none()), "{open:?}");
    let over = [StepState::Completed, StepState::Failed];
    assert_eq!(clusters.list_steps(&id, &over).await, Ok(vec![]));
    ended(clusters, &id, pass).await;
}

async fn terminating_twice_is_harmless<C: Clusters>(clusters: &C, pass: impl AsyncFn(&C)) {
    let id = made(clusters, "stack:over-c1").await;
    ended(clusters, &id, &pass).await;
    let state = |described: Option<tasks::port::ClusterDescription>| {
        described.map(|cluster| (cluster.name, cluster.state))
    };
    let before = state(clusters.describe_cluster(&id).await.expect("described"));
    clusters
        .terminate_cluster(&id)
        .await
        .expect("terminated again");
    let after = state(clusters.describe_cluster(&id).await.expect("described"));
    assert_eq!(before, after);
    let listed = clusters.list_clusters(Timestamp(0)).await.expect("listed");
    assert!(listed.iter().any(|cluster| cluster.id == id));
}

async fn what_is_not_there_is_refused(clusters: &impl Clusters) {
    let nowhere = "j-1ABCDEFGHIJKL";
    refused(clusters.add_steps(nowhere, &[step("1#1")]).await);
    refused(clusters.list_steps(nowhere, &[]).await);
    refused(clusters.cancel_steps(nowhere, &["s-1".to_owned()]).await);
    refused(clusters.terminate_cluster(nowhere).await);
}

async fn what_is_too_much_is_refused<C: Clusters>(clusters: &C, pass: impl AsyncFn(&C)) {
    let id = made(clusters, "stack:much-c1").await;
    let long = StepRequest {
        name: "1#1".to_owned(),
        arguments: vec!["a".repeat(5_120), "b".repeat(5_121)],
    };
    refused(clusters.add_steps(&id, &[long]).await);
    let more: Vec<StepRequest> = (0..=STEPS_ACTIVE_MAX).map(|_| step("1#1")).collect();
    refused(clusters.add_steps(&id, &more).await);
    assert_eq!(clusters.list_steps(&id, &[]).await, Ok(vec![]));
    clusters
        .add_steps(&id, &more[1..])
        .await
        .expect("as many as there may be");
    refused(clusters.add_steps(&id, &more[..1]).await);
    ended(clusters, &id, pass).await;
}

async fn a_terminated_cluster_takes_no_steps<C: Clusters>(clusters: &C, pass: impl AsyncFn(&C)) {
    let id = made(clusters, "stack:closed-c1").await;
    clusters
        .add_steps(&id, &[step("1#1"), step("2#1")])
        .await
        .expect("added");
    clusters.terminate_cluster(&id).await.expect("terminated");
    refused(clusters.add_steps(&id, &[step("3#1")]).await);
    ended(clusters, &id, pass).await;
    refused(clusters.add_steps(&id, &[step("3#1")]).await);
    let steps = clusters.list_steps(&id, &[]).await.expect("listed");
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].state, StepState::Cancelled);
    let ends = [StepState::Cancelled, StepState::Interrupted];
    assert!(ends.contains(&steps[1].state), "{:?}", steps[1]);
}

async fn a_pending_step_is_dropped_and_the_others_are_left<C: Clusters>(
    clusters: &C,
    pass: impl AsyncFn(&C),
) {
    let id = made(clusters, "stack:cancel-c1").await;
    let ids = clusters
        .add_steps(&id, &[step("1#1"), step("2#1"), step("3#1")])
        .await
        .expect("added");
    clusters
        .cancel_steps(&id, &ids[1..2])
        .await
        .expect("cancelled");
    let cancelled = [StepState::Cancelled];
    let cancelled = clusters.list_steps(&id, &cancelled).await.expect("listed");
    let cancelled: Vec<&str> = cancelled.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(cancelled, [ids[1].as_str()]);
    let open = [StepState::Pending, StepState::Running];
    let open = clusters.list_steps(&id, &open).await.expect("listed");
    assert_eq!(open.len(), 2);
    // What is over stays as it is.
    clusters
        .cancel_steps(&id, &ids[1..2])
        .await
        .expect("asked again");
    ended(clusters, &id, pass).await;
}

#[test]
fn the_simulated_clusters_keep_the_contract() {
    let pass = async |world: &sim::World| {
        world.advance_to(world.now().plus_seconds(30));
        world.tick();
    };
    sim::worker::at_once(keeps_the_contract(async || sim::World::default(), pass))
        .expect("simulated ports answer at once");
}

#[tokio::test]
async fn the_clusters_of_this_machine_keep_the_contract() {
    let folders = std::cell::RefCell::new(Vec::new());
    let empty = async || {
        let folder = tempfile::tempdir().expect("a folder");
        let program = local::process::Program {
            path: program("headwater"),
            arguments: Vec::new(),
        };
        let local = local::Local::open_with(folder.path(), program).expect("opened");
        folders.borrow_mut().push(folder);
        local
    };
    let pass = async |_: &local::Local| tokio::time::sleep(Duration::from_millis(10)).await;
    keeps_the_contract(empty, pass).await;
}

#[tokio::test]
async fn the_clusters_of_the_adapter_keep_on_moto_what_moto_does() {
    let caller = moto::unique("CLUSTERS");
    let config = moto::server().config(&caller).await;
    let empty = async || Aws::new(config.clone(), nowhere("clusters"));
    let pass = async |_: &Aws| {};
    keeps_what_emulators_share(empty, pass).await;
    assert!(moto::server().requests_of(&caller).len() > 20);
}
