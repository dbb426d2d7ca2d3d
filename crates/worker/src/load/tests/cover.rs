//! No load starts before capture covers it, when changes are to follow.

use super::*;
use pgwire_replication::{ReplicationClient, ReplicationConfig};
use pipeline::plan::CaptureKind;
use pipeline::position::{CaptureIdentity, CaptureState};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::BTreeMap;

fn write_state(scene: &Scene, slot: &str, tables: &[&str]) {
    let state = CaptureState {
        schema_version: 1,
        epoch: "epoch-1".to_owned(),
        slot: slot.to_owned(),
        heartbeat: Timestamp(0),
        flushed_lsn: "0/0".to_owned(),
        started: Timestamp(0),
        last_seq: ChangeSeq::new(Timestamp(0), 0),
        needs_reseed: BTreeMap::new(),
        tables: tables.iter().map(|&table| table.to_owned()).collect(),
        identity: CaptureIdentity::default(),
    };
    let root = store::disk::path(&scene.plan.zones.changes_root("shop")).expect("a folder");
    let bytes = serde_json::to_vec(&state).expect("json");
    store::disk::put(&root.join("_capture.json"), &bytes).expect("a file");
}

/// Reads the slot, as capture does; until it is dropped.
async fn reader(scene: &Scene, slot: &str) -> ReplicationClient {
    let secret = &scene.database.secret;
    let mut config = ReplicationConfig::new(
        secret.host.as_str(),
        secret.username.as_str(),
        secret.password.as_str(),
        secret.dbname.as_str(),
        slot,
        "all_tables",
    );
    config.port = secret.port;
    let mut client = ReplicationClient::connect(config)
        .await
        .expect("a connection");
    client.wait_started().await.expect("a stream");
    client
}

#[tokio::test]
async fn a_load_that_capture_does_not_cover_is_refused() {
    // Slots are the server's: the name is this test's own.
    let slot = "cover_test";
    let mut scene = Scene::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE UNLOGGED TABLE loose (id int);
         CREATE PUBLICATION all_tables FOR ALL TABLES",
    )
    .await;
    scene.plan.source.changes_follow = true;
    scene.plan.source.capture.kind = CaptureKind::Headwater;
    scene.plan.source.capture.slot = slot.to_owned();
    let refused = async |scene: &Scene, table: &str, error: &str, named: &str| {
        let failure = scene.load("a", table).await.expect_err(named);
        assert_eq!(failure.error, error, "{failure:?}");
        assert!(failure.message.contains(named), "{named}: {failure:?}");
        if error == "NotCovered" {
            assert_eq!(
                failure.hint.as_deref(),
                Some("headwater capture start --identifier shop")
            );
        }
        assert!(scene.files("a", &Scene::table(table)).is_empty());
    };
    refused(&scene, "t", "NotCovered", "never started").await;
    write_state(&scene, "another", &["public.t"]);
    refused(&scene, "t", "NotCovered", "`another`").await;
    write_state(&scene, slot, &["public.other"]);
    refused(&scene, "t", "NotCovered", "`public.t`").await;
    write_state(&scene, slot, &["public.loose", "public.t"]);
    refused(&scene, "loose", "NotFollowed", "unlogged").await;
    refused(
        &scene,
        "t",
        "NotCovered",
        "no replication slot `cover_test`",
    )
    .await;
    scene
        .sql("SELECT pg_create_logical_replication_slot('cover_test', 'pgoutput')")
        .await;
    refused(&scene, "t", "NotCovered", "nobody reads").await;

    let reading = reader(&scene, slot).await;
    scene.load("a", "t").await.expect("a load");
    let manifest = scene.manifest("a", &Scene::table("t"));
    assert_eq!(manifest.epoch.as_deref(), Some("epoch-1"));
    assert!(manifest.slot_lsn.is_some());

    // Of DMS only the slot is known here.
    scene.plan.source.capture.kind = CaptureKind::Dms;
    scene.plan.source.capture.task = Some("task".to_owned());
    scene.load("b", "t").await.expect("a load");
    let manifest = scene.manifest("b", &Scene::table("t"));
    assert_eq!(manifest.epoch.as_deref(), Some("dms/cover_test/task"));

    let other = postgres().database().await;
    drop(std::mem::replace(&mut scene.database, other));
    drop(reading);
}
