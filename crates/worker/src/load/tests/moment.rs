//! T0 against transactions in progress. One test: every transaction of the server counts.

use super::super::moment::{clock, t0};
use super::*;
use crate::source::connect;
use pipeline::time::Timestamp;

const MINUTE: i64 = 60_000;

#[tokio::test]
async fn t0_waits_for_open_transactions_and_goes_back_to_their_start_when_they_stay() {
    let scene = Scene::new("CREATE TABLE t (x int)").await;
    let client = connect(&scene.database.secret).await.expect("a connection");
    let writer = scene.database.connect().await;
    let forever = Duration::from_secs(600);

    // One that ends while it is waited for.
    let before = clock(&client).await.expect("a clock");
    writer
        .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .expect("sql");
    let commit = async {
        until_waiting(&scene).await;
        writer.batch_execute("COMMIT").await.expect("sql");
    };
    let (found, ()) = tokio::join!(t0(&client, forever, 0), commit);
    let found = found.expect("a moment");
    assert_eq!(found.note, None);
    assert!(found.at >= before && found.at <= clock(&client).await.expect("a clock"));
    assert!(
        sees_the_row(&client).await,
        "T0 came before the transaction's end"
    );

    // One that stays: later ones of other tests may be open too, but none of them is older for long.
    writer
        .batch_execute("BEGIN; INSERT INTO t VALUES (2)")
        .await
        .expect("sql");
    let start = moment(&writer, "now()").await;
    let found = t0(&client, Duration::ZERO, 0).await.expect("a moment");
    assert!(
        found.at <= start && found.at > Timestamp(start.0 - MINUTE),
        "{found:?} {start}"
    );
    assert!(found.note.is_some());
    let with_margin = t0(&client, Duration::ZERO, 5).await.expect("a moment");
    assert!(
        with_margin.at <= Timestamp(start.0 - 5 * MINUTE),
        "{with_margin:?}"
    );

    // A prepared one has no session any more.
    writer
        .batch_execute("PREPARE TRANSACTION 'stays'")
        .await
        .expect("sql");
    let prepared = moment(
        &writer,
        "(SELECT prepared FROM pg_prepared_xacts WHERE gid = 'stays')",
    )
    .await;
    let found = t0(&client, Duration::ZERO, 0).await.expect("a moment");
    assert!(
        found.at <= prepared && found.at > Timestamp(prepared.0 - MINUTE),
        "{found:?} {prepared}"
    );
    writer
        .batch_execute("ROLLBACK PREPARED 'stays'")
        .await
        .expect("sql");

    // A role that may not see since when.
    scene.sql("CREATE ROLE blind LOGIN PASSWORD 'blind'").await;
    let secret = postgres().secret("blind", "blind", &scene.database.secret.dbname);
    let blind = connect(&secret).await.expect("a connection");
    writer
        .batch_execute("BEGIN; INSERT INTO t VALUES (3)")
        .await
        .expect("sql");
    let failure = t0(&blind, Duration::ZERO, 0)
        .await
        .expect_err("nothing to see");
    assert_eq!(failure.error, "TransactionsHidden");
    assert!(failure.hint.is_some());
    let margin = t0(&blind, Duration::ZERO, 5).await.expect("a moment");
    assert!(margin.at <= Timestamp(moment(&writer, "clock_timestamp()").await.0 - 5 * MINUTE));
    writer.batch_execute("ROLLBACK").await.expect("sql");
}

/// Returns when the transactions were looked at once.
async fn until_waiting(scene: &Scene) {
    let looks = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query LIKE '%FROM pg_locks%'";
    loop {
        let row = scene
            .database
            .client
            .query_one(looks, &[])
            .await
            .expect("a count");
        if row.get::<_, i64>(0) > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn sees_the_row(client: &tokio_postgres::Client) -> bool {
    let row = client
        .query_one("SELECT count(*) FROM public.t WHERE x = 1", &[])
        .await
        .expect("a count");
    row.get::<_, i64>(0) == 1
}

async fn moment(client: &tokio_postgres::Client, moment: &str) -> Timestamp {
    let statement = format!("SELECT floor(extract(epoch FROM {moment}) * 1000)::int8");
    Timestamp(
        client
            .query_one(&statement, &[])
            .await
            .expect("a moment")
            .get(0),
    )
}
