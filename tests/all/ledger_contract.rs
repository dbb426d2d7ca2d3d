//! What every ledger must do. A ledger that passes this is as good as another.

use serde_json::json;
use tasks::port::{
    Change, Expect, LEDGER_WRITES_MAX, Ledger, LedgerKey, LedgerWrite, PortError, WriteError,
};

fn key(partition: &str, sort: &str) -> LedgerKey {
    LedgerKey {
        partition: partition.to_owned(),
        sort: sort.to_owned(),
    }
}

fn put(key: &LedgerKey, expect: Expect, body: serde_json::Value) -> LedgerWrite {
    LedgerWrite {
        key: key.clone(),
        expect,
        change: Change::Put(body),
    }
}

fn write(key: &LedgerKey, expect: Expect, change: Change) -> LedgerWrite {
    LedgerWrite {
        key: key.clone(),
        expect,
        change,
    }
}

/// An empty ledger, made anew for each story.
pub async fn keeps_the_contract<L: Ledger>(empty: impl AsyncFn() -> L) {
    a_record_has_the_next_version_after_each_write(&empty().await).await;
    an_expectation_that_does_not_hold_stops_the_whole_transaction(&empty().await).await;
    a_check_writes_nothing_and_can_stop_a_transaction(&empty().await).await;
    a_list_has_just_the_prefix_of_one_partition_in_order(&empty().await).await;
    transactions_beyond_the_limits_are_refused(&empty().await).await;
    of_two_writers_of_one_version_one_wins(&empty().await).await;
}

async fn a_record_has_the_next_version_after_each_write(ledger: &impl Ledger) {
    let run = key("run#a", "run");
    assert_eq!(ledger.get(&run).await.expect("read"), None);
    ledger
        .write(&[put(&run, Expect::Absent, json!({"n": 1}))])
        .await
        .expect("made");
    for version in 1..4 {
        let entry = ledger.get(&run).await.expect("read").expect("there");
        assert_eq!(
            (entry.version, &entry.body),
            (version, &json!({"n": version}))
        );
        assert_eq!(entry.key, run);
        ledger
            .write(&[put(
                &run,
                Expect::Version(version),
                json!({"n": version + 1}),
            )])
            .await
            .expect("replaced");
    }
    ledger
        .write(&[write(&run, Expect::Version(4), Change::Delete)])
        .await
        .expect("deleted");
    assert_eq!(ledger.get(&run).await.expect("read"), None);
}

async fn an_expectation_that_does_not_hold_stops_the_whole_transaction(ledger: &impl Ledger) {
    let (first, second) = (key("run#a", "run"), key("admission", "a"));
    ledger
        .write(&[put(&second, Expect::Absent, json!("held"))])
        .await
        .expect("made");
    let refused = [
        Expect::Absent,
        Expect::Version(2),
        Expect::Version(0),
        Expect::Version(u64::MAX),
    ];
    for expect in refused {
        let conflict = ledger
            .write(&[
                put(&first, Expect::Absent, json!(1)),
                put(&second, expect, json!("taken")),
            ])
            .await;
        assert_eq!(conflict, Err(WriteError::Conflict(second.clone())));
        assert_eq!(ledger.get(&first).await.expect("read"), None);
    }
    let absent = ledger
        .write(&[write(&first, Expect::Version(1), Change::Delete)])
        .await;
    assert_eq!(absent, Err(WriteError::Conflict(first)));
    let held = ledger.get(&second).await.expect("read").expect("there");
    assert_eq!((held.version, held.body), (1, json!("held")));
}

async fn a_check_writes_nothing_and_can_stop_a_transaction(ledger: &impl Ledger) {
    let (run, claim) = (key("run#a", "run"), key("run#a", "claim#1"));
    ledger
        .write(&[put(&run, Expect::Absent, json!(1))])
        .await
        .expect("made");
    ledger
        .write(&[
            put(&claim, Expect::Absent, json!(1)),
            write(&run, Expect::Version(1), Change::Check),
        ])
        .await
        .expect("claimed");
    assert_eq!(
        ledger
            .get(&run)
            .await
            .expect("read")
            .expect("there")
            .version,
        1
    );
    let second = key("run#a", "claim#2");
    let stopped = ledger
        .write(&[
            put(&second, Expect::Absent, json!(1)),
            write(&run, Expect::Version(2), Change::Check),
        ])
        .await;
    assert_eq!(stopped, Err(WriteError::Conflict(run)));
    assert_eq!(ledger.get(&second).await.expect("read"), None);
}

async fn a_list_has_just_the_prefix_of_one_partition_in_order(ledger: &impl Ledger) {
    let sorts = [
        "result#2",
        "result#1",
        "run",
        "result%",
        "resul",
        "résultat#1",
    ];
    for sort in sorts {
        ledger
            .write(&[put(&key("run#a", sort), Expect::Absent, json!(sort))])
            .await
            .expect("made");
    }
    ledger
        .write(&[put(&key("run#ab", "result#0"), Expect::Absent, json!(0))])
        .await
        .expect("made");
    let listed = async |prefix: &str| -> Vec<String> {
        let entries = ledger.list("run#a", prefix).await.expect("listed");
        entries.into_iter().map(|entry| entry.key.sort).collect()
    };
    assert_eq!(listed("result#").await, ["result#1", "result#2"]);
    assert_eq!(listed("résultat").await, ["résultat#1"]);
    assert_eq!(
        listed("").await,
        [
            "resul",
            "result#1",
            "result#2",
            "result%",
            "run",
            "résultat#1"
        ]
    );
    assert_eq!(listed("z").await, Vec::<String>::new());
}

async fn transactions_beyond_the_limits_are_refused(ledger: &impl Ledger) {
    let refused = |result: Result<(), WriteError>| {
        matches!(result, Err(WriteError::Port(PortError::Refused { .. })))
    };
    let many: Vec<LedgerWrite> = (0..=LEDGER_WRITES_MAX)
        .map(|n| put(&key("many", &n.to_string()), Expect::Absent, json!(n)))
        .collect();
    assert!(refused(ledger.write(&many).await));
    ledger
        .write(&many[..LEDGER_WRITES_MAX])
        .await
        .expect("just as many as there may be");
    let twice = key("one", "one");
    assert!(refused(
        ledger
            .write(&[
                put(&twice, Expect::Absent, json!(1)),
                put(&twice, Expect::Version(1), json!(2))
            ])
            .await
    ));
    assert_eq!(ledger.get(&twice).await.expect("read"), None);
}

async fn of_two_writers_of_one_version_one_wins(ledger: &impl Ledger) {
    let record = key("admission", "a");
    ledger
        .write(&[put(&record, Expect::Absent, json!(0))])
        .await
        .expect("made");
    let won = ledger
        .write(&[put(&record, Expect::Version(1), json!(1))])
        .await;
    let lost = ledger
        .write(&[put(&record, Expect::Version(1), json!(2))])
        .await;
    assert_eq!(
        (won, lost),
        (Ok(()), Err(WriteError::Conflict(record.clone())))
    );
    let entry = ledger.get(&record).await.expect("read").expect("there");
    assert_eq!((entry.version, entry.body), (2, json!(1)));
}

/// A ledger and the folder that it goes with.
struct InFolder {
    local: local::Local,
    _folder: tempfile::TempDir,
}

impl Ledger for InFolder {
    async fn get(&self, key: &LedgerKey) -> Result<Option<tasks::port::LedgerEntry>, PortError> {
        self.local.get(key).await
    }

    async fn list(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<tasks::port::LedgerEntry>, PortError> {
        self.local.list(partition, sort_prefix).await
    }

    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        self.local.write(writes).await
    }
}

#[tokio::test]
async fn sqlite_keeps_the_ledger_contract() {
    keeps_the_contract(async || {
        let folder = tempfile::tempdir().expect("a folder");
        InFolder {
            local: local::Local::open(folder.path()).expect("opened"),
            _folder: folder,
        }
    })
    .await;
}
