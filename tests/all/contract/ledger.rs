//! What every ledger must do. A ledger that passes this is as good as another.

use super::InFolder;
use crate::moto;
use serde_json::json;
use std::ops::Deref;
use tasks::limits::RECORD_BYTES_MAX;
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
async fn keeps_the_contract<H: Deref<Target: Ledger + Sized>>(empty: impl AsyncFn() -> H) {
    a_record_has_the_next_version_after_each_write(&*empty().await).await;
    an_expectation_that_does_not_hold_stops_the_whole_transaction(&*empty().await).await;
    a_check_writes_nothing_and_can_stop_a_transaction(&*empty().await).await;
    a_list_has_just_the_prefix_of_one_partition_in_order(&*empty().await).await;
    transactions_beyond_the_limits_are_refused(&*empty().await).await;
    of_two_writers_of_one_version_one_wins(&*empty().await).await;
    a_record_that_must_be_absent_can_be_checked_and_deleted(&*empty().await).await;
    a_body_comes_back_as_it_was(&*empty().await).await;
    a_list_is_complete_however_large_it_is(&*empty().await).await;
    a_record_that_is_too_large_is_named(&*empty().await).await;
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
    assert!(refused(ledger.write(&[]).await));
    for nameless in [key("", "run"), key("run#a", "")] {
        assert!(refused(
            ledger
                .write(&[put(&nameless, Expect::Absent, json!(1))])
                .await
        ));
    }
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

async fn a_record_that_must_be_absent_can_be_checked_and_deleted(ledger: &impl Ledger) {
    let (absent, there) = (key("run#a", "absent"), key("run#a", "there"));
    for change in [Change::Check, Change::Delete] {
        ledger
            .write(&[write(&absent, Expect::Absent, change)])
            .await
            .expect("it is absent");
    }
    assert_eq!(ledger.get(&absent).await.expect("read"), None);
    ledger
        .write(&[put(&there, Expect::Absent, json!(1))])
        .await
        .expect("made");
    for change in [Change::Check, Change::Delete] {
        let conflict = ledger.write(&[write(&there, Expect::Absent, change)]).await;
        assert_eq!(conflict, Err(WriteError::Conflict(there.clone())));
    }
}

async fn a_body_comes_back_as_it_was(ledger: &impl Ledger) {
    let deep = (0..24).fold(json!("deepest"), |inner, level| match level % 2 {
        0 => json!([inner]),
        _ => json!({ "below": inner }),
    });
    let bodies = [
        json!(null),
        json!(""),
        json!([]),
        json!({}),
        json!({"a": {"version": 0, "body": "", "a.b": [null, true, "ümlaut 🌊"]}}),
        json!([
            0,
            -1,
            u64::MAX,
            i64::MIN,
            0.1,
            -2.5e-9,
            1_767_225_600_000_u64
        ]),
        json!("1767225600000"),
        deep,
    ];
    for (number, body) in bodies.iter().enumerate() {
        let record = key("bodies", &format!("{number:02}"));
        ledger
            .write(&[put(&record, Expect::Absent, body.clone())])
            .await
            .expect("made");
        let entry = ledger.get(&record).await.expect("read").expect("there");
        assert_eq!(&entry.body, body);
    }
    let listed = ledger.list("bodies", "").await.expect("listed");
    let listed: Vec<_> = listed.into_iter().map(|entry| entry.body).collect();
    assert_eq!(listed, bodies);
}

/// DynamoDB gives 1 MB at once.
async fn a_list_is_complete_however_large_it_is(ledger: &impl Ledger) {
    let large = json!("x".repeat(300 * 1024));
    for number in 0..8 {
        let record = key("run#a", &format!("wave#{number}"));
        ledger
            .write(&[put(&record, Expect::Absent, large.clone())])
            .await
            .expect("made");
    }
    let listed = ledger.list("run#a", "wave#").await.expect("listed");
    let sorts: Vec<String> = listed.into_iter().map(|entry| entry.key.sort).collect();
    let expected: Vec<String> = (0..8).map(|number| format!("wave#{number}")).collect();
    assert_eq!(sorts, expected);
}

async fn a_record_that_is_too_large_is_named(ledger: &impl Ledger) {
    let (small, large) = (key("run#a", "small"), key("run#a", "large"));
    let text = |bytes: usize| json!({"text": "ü".repeat(bytes / 2)});
    let transaction = |bytes: usize| {
        [
            put(&small, Expect::Absent, json!(1)),
            put(&large, Expect::Absent, text(bytes)),
        ]
    };
    let refused = ledger.write(&transaction(RECORD_BYTES_MAX)).await;
    let Err(WriteError::Port(PortError::Refused { message, .. })) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert!(message.contains("`run#a large`"), "{message}");
    assert_eq!(ledger.get(&small).await.expect("read"), None);
    ledger
        .write(&transaction(RECORD_BYTES_MAX - 200))
        .await
        .expect("as large as it may be");
}

#[tokio::test]
async fn memory_keeps_the_ledger_contract() {
    keeps_the_contract(async || Box::new(sim::world::World::default())).await;
}

#[tokio::test]
async fn sqlite_keeps_the_ledger_contract() {
    keeps_the_contract(async || InFolder::new()).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_ledger_contract() {
    keeps_the_contract(async || Box::new(moto::stack("ledger").await)).await;
}
