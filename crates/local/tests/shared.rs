//! Several processes with one home: what one writes the others see, and nothing is lost between them.

use local::Local;
use serde_json::json;
use std::thread;
use tasks::port::{
    Change, Clock, ConfigTable, Executions, Expect, Ledger, LedgerKey, LedgerWrite, Mail, Mailer,
    Objects, PortError, Started, WriteError,
};

fn counter() -> LedgerKey {
    LedgerKey {
        partition: "counter".to_owned(),
        sort: "one".to_owned(),
    }
}

async fn add_one(local: &Local) {
    loop {
        let read = local.get(&counter()).await.expect("read");
        let (expect, count) = match &read {
            None => (Expect::Absent, 0),
            Some(entry) => (
                Expect::Version(entry.version),
                entry.body.as_u64().expect("a number"),
            ),
        };
        let write = LedgerWrite {
            key: counter(),
            expect,
            change: Change::Put(json!(count + 1)),
        };
        match local.write(&[write]).await {
            Ok(()) => return,
            Err(WriteError::Conflict(_)) => {}
            Err(WriteError::Port(error)) => panic!("{error}"),
        }
    }
}

/// Each thread opens the home for itself, as processes do, while it is being made.
#[test]
fn writers_that_open_a_new_home_at_once_lose_no_update() {
    let folder = tempfile::tempdir().expect("a folder");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let local = Local::open(folder.path()).expect("opened");
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .expect("a runtime");
                for _ in 0..25 {
                    runtime.block_on(add_one(&local));
                }
            });
        }
    });
    let local = Local::open(folder.path()).expect("opened");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let entry = runtime
        .block_on(local.get(&counter()))
        .expect("read")
        .expect("there");
    assert_eq!((entry.version, entry.body), (100, json!(100)));
}

#[tokio::test]
async fn configuration_is_replaced_for_one_identifier_and_read_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path()).expect("opened");
    let item = |identifier: &str, config: &str| json!({"identifier": identifier, "config": config});
    let old = [item("a", "step::system::x"), item("a", "database::config")];
    local.replace_config("a", &old).expect("written");
    local
        .replace_config("b", &[item("b", "database::config")])
        .expect("written");
    let read = Local::open(folder.path()).expect("opened");
    assert_eq!(
        read.items("a").await.expect("read"),
        [item("a", "database::config"), item("a", "step::system::x")]
    );
    local
        .replace_config("a", &[item("a", "pipeline::system::jdbc_load")])
        .expect("written");
    assert_eq!(
        read.config_items().expect("read"),
        [
            item("a", "pipeline::system::jdbc_load"),
            item("b", "database::config")
        ]
    );
    assert_eq!(read.config_identifiers().expect("read"), ["a", "b"]);
    assert!(
        local
            .replace_config("a", &[json!({"identifier": "a"})])
            .is_err()
    );
    assert_eq!(read.items("a").await.expect("read").len(), 1);
}

#[tokio::test]
async fn an_execution_starts_once_and_its_definition_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path()).expect("opened");
    let input = json!({"identifier": "tpcc"});
    let first = local.start_execution("a", &input).await.expect("started");
    let second = local.start_execution("a", &json!({})).await.expect("asked");
    assert_eq!((first, second), (Started::Now, Started::Before));
    let chained = json!({"root_run_id": "a"});
    local.start_execution("b", &chained).await.expect("started");
    assert_eq!(
        local.running_executions_since("a").expect("read"),
        ["a", "b"]
    );
    let described = local
        .describe_execution("a")
        .await
        .expect("read")
        .expect("there");
    assert_eq!(described.input, input);
    assert_eq!(local.describe_execution("c").await.expect("read"), None);
}

#[tokio::test]
async fn objects_appear_whole_and_are_listed_at_any_depth() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path()).expect("opened");
    let root = format!("file://{}", local.home().lake().display());
    for name in ["a b/ü.json", "a b/deep/er/x", "z"] {
        local
            .put(&format!("{root}/{name}"), name.as_bytes())
            .await
            .expect("put");
    }
    std::fs::write(local.home().lake().join(".z.1-0.tmp"), "half").expect("written");
    let listed = local.list_objects(&root).await.expect("listed");
    let found: Vec<(&str, u64)> = listed
        .iter()
        .map(|object| (object.uri.strip_prefix(&root).expect("below"), object.bytes))
        .collect();
    assert_eq!(
        found,
        [("/a b/deep/er/x", 13), ("/a b/ü.json", 11), ("/z", 1)]
    );
    assert_eq!(
        local
            .list_objects(&format!("{root}/a"))
            .await
            .expect("listed"),
        []
    );
    assert_eq!(
        local.read(&format!("{root}/none")).await.expect("read"),
        None
    );
    assert_eq!(
        local.read(&format!("{root}/z")).await.expect("read"),
        Some(b"z".to_vec())
    );
    assert!(matches!(
        local.read("s3://bucket/key").await,
        Err(PortError::Refused { .. })
    ));
}

#[tokio::test]
async fn the_same_mail_is_one_file_that_a_mail_program_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path()).expect("opened").talk_to(|_| {});
    let mail = Mail {
        id: "tpcc-jdbc_load-0a1b#notice".to_owned(),
        subject: "FAILED: tpcc".to_owned(),
        body: format!("one line\n\n.\n{}\nümlaut", "long ".repeat(400)),
    };
    local.send(&mail).await.expect("sent");
    local.send(&mail).await.expect("sent again");
    let files: Vec<_> = std::fs::read_dir(local.home().mail())
        .expect("read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1);
    let text = std::fs::read_to_string(&files[0]).expect("read");
    let (head, _) = text.split_once("\r\n\r\n").expect("head and body");
    assert!(
        head.contains("Message-ID: <tpcc-jdbc_load-0a1b-notice@headwater.local>"),
        "{head}"
    );
    assert!(
        text.lines()
            .all(|line| line.len() <= 998 && line.is_ascii()),
        "{text}"
    );
}

#[test]
fn progress_is_what_was_said_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path()).expect("opened");
    local
        .progress("run", "public.orders", 10, 100, Some(50))
        .expect("kept");
    local
        .progress("run", "public.orders", 50, 500, Some(50))
        .expect("kept");
    local
        .progress("run", "public.item", 1, 2, None)
        .expect("kept");
    local
        .progress("other", "public.item", 9, 9, None)
        .expect("kept");
    let read = local.progress_of("run").expect("read");
    let found: Vec<_> = read
        .iter()
        .map(|p| (p.step.as_str(), p.rows, p.bytes, p.expected))
        .collect();
    assert_eq!(
        found,
        [
            ("public.item", 1, 2, None),
            ("public.orders", 50, 500, Some(50))
        ]
    );
    assert!(
        read.iter()
            .all(|p| p.began <= p.updated && p.updated <= local.now())
    );
}
