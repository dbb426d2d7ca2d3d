//! Permissions both ways: what each task was seen to call in all stories against the policy of its function's role.

use crate::judge::tool;
use crate::programs::root;
use crate::scenarios::{self, STORIES};
use crate::{golden, moto};
use aws::Aws;
use aws::actions::NEEDS;
use serde_json::{Value, json};
use sim::Seen;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use tasks::port::{
    Change, Clock, Clusters, ConfigTable, Deployments, Executions, Expect, Ledger, LedgerKey,
    LedgerWrite, Mail, Mailer, Objects, Started, StepRequest,
};

/// What the judge finds of these calls, a line for each.
fn findings(seen: &BTreeSet<Seen>) -> Vec<String> {
    let seen: Vec<Value> = seen
        .iter()
        .map(|seen| json!({"task": seen.task, "method": seen.method, "about": seen.about}))
        .collect();
    let mut judge = Command::new(tool("cfn", "python"))
        .arg(root().join("tests/judges/permissions.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge starts");
    let question = json!({"needs": NEEDS, "seen": seen}).to_string();
    let mut stdin = judge.stdin.take().expect("it is piped");
    stdin.write_all(question.as_bytes()).expect("it reads");
    drop(stdin);
    let output = judge.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(" findings"), "{told}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// All stories again, one after the other, with one memory of what was called.
fn seen_in_all_stories() -> BTreeSet<Seen> {
    let marked = include_str!("scenarios.rs").matches("#[test]").count();
    assert_eq!(STORIES.len(), marked, "a story is not among `STORIES`");
    for story in STORIES {
        story();
    }
    scenarios::seen()
}

#[test]
fn every_role_allows_what_its_task_calls_and_nothing_else() {
    let seen = seen_in_all_stories();
    let tasks: BTreeSet<&str> = seen.iter().map(|seen| seen.task.as_str()).collect();
    assert_eq!(tasks, tasks::TASKS.into_iter().collect());
    let found = findings(&seen);
    assert!(found.is_empty(), "{}", found.join("\n"));

    let mut more = seen.clone();
    more.insert(Seen {
        task: "read-config".to_owned(),
        method: "mail.send",
        about: String::new(),
    });
    let found = findings(&more);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("read-config: missing `sns:Publish`")),
        "{found:?}"
    );

    let mut less = seen;
    less.retain(|seen| seen.method != "ledger.delete" || seen.task != "finish");
    let found = findings(&less);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("finish: unused `dynamodb:DeleteItem`")),
        "{found:?}"
    );
}

/// What a recorded request asks IAM for.
fn actions(request: &Value) -> Vec<String> {
    let service = request["service"].as_str().expect("a signed request");
    let operation = request["operation"].as_str().expect("a known operation");
    let names: Vec<&str> = match operation {
        "ListObjectsV2" => vec!["ListBucket"],
        "TransactWriteItems" => {
            let body = request["body"].as_str().expect("a text");
            let body: Value = serde_json::from_str(body).expect("JSON");
            let items = body["TransactItems"].as_array().expect("a list").clone();
            items.iter().map(write_action).collect()
        }
        _ => vec![operation],
    };
    names
        .into_iter()
        .map(|name| format!("{service}:{name}"))
        .collect()
}

fn write_action(item: &Value) -> &'static str {
    let kinds = [
        ("Put", "PutItem"),
        ("Delete", "DeleteItem"),
        ("ConditionCheck", "ConditionCheckItem"),
        ("Update", "UpdateItem"),
    ];
    let kind = kinds.iter().find(|(kind, _)| item.get(kind).is_some());
    kind.expect("a kind of write").1
}

/// Makes the call of this name; whether moto can answer it does not matter.
async fn call(aws: &Aws, method: &str) {
    let key = LedgerKey {
        partition: "run#a".to_owned(),
        sort: "run".to_owned(),
    };
    let write = async |expect, change| {
        let key = key.clone();
        let _ = aws
            .write(&[LedgerWrite {
                key,
                expect,
                change,
            }])
            .await;
    };
    let object = format!("{}/shop/runs/a.json", aws.resources().artifacts);
    let cluster = "j-1ABCDEFGHIJKL";
    match method {
        "config.items" => drop(aws.items("shop").await),
        "deployment" => drop(aws.deployment().await),
        "ledger.get" => drop(aws.get(&key).await),
        "ledger.list" => drop(aws.list("run#a", "").await),
        "ledger.put" => write(Expect::Absent, Change::Put(json!(1))).await,
        "ledger.delete" => write(Expect::Version(1), Change::Delete).await,
        "ledger.check" => write(Expect::Version(1), Change::Check).await,
        "objects.read" => drop(aws.read(&object).await),
        "objects.put" => drop(aws.put(&object, b"{}").await),
        "objects.list" => drop(aws.list_objects(&aws.resources().artifacts).await),
        "clusters.create" => {
            let spec = golden::cluster_of("jdbc_load_native");
            drop(aws.create_cluster("stack:run-c1", &spec, &[]).await);
        }
        "clusters.list" => drop(aws.list_clusters(aws.now()).await),
        "clusters.describe" => drop(aws.describe_cluster(cluster).await),
        "clusters.add_steps" => {
            let step = StepRequest {
                name: "0#1".to_owned(),
                arguments: vec!["true".to_owned()],
            };
            drop(aws.add_steps(cluster, &[step]).await);
        }
        "clusters.list_steps" => drop(aws.list_steps(cluster, &[]).await),
        "clusters.cancel_steps" => drop(aws.cancel_steps(cluster, &["s-1".to_owned()]).await),
        "clusters.terminate" => drop(aws.terminate_cluster(cluster).await),
        "executions.start" => drop(aws.start_execution("a", &json!({})).await),
        "executions.describe" => drop(aws.describe_execution("a").await),
        "executions.list" => drop(aws.list_running_executions().await),
        "mail.send" => {
            let mail = Mail {
                id: "a".to_owned(),
                subject: "a".to_owned(),
                body: "a".to_owned(),
            };
            drop(aws.send(&mail).await);
        }
        "mail.confirmed" => drop(aws.confirmed().await),
        unknown => panic!("there is no call `{unknown}`"),
    }
}

/// Each method under a caller of its own: the table says just what was sent.
#[tokio::test]
async fn the_adapters_send_what_the_table_of_actions_says() {
    for needs in NEEDS {
        let caller = moto::unique(needs.method);
        let stack = crate::contract::executions::on_moto(&caller).await;
        if needs.method == "executions.list" {
            let config = moto::server().config("FOUNDATION").await;
            let other = Aws::new(config, stack.resources().clone());
            let started = other.start_execution("a", &json!({})).await;
            assert_eq!(started, Ok(Started::Now));
        }
        call(&stack, needs.method).await;
        let requests = moto::server().requests_of(&caller);
        let sent: BTreeSet<String> = requests.iter().flat_map(actions).collect();
        let expected: BTreeSet<String> = needs.calls.iter().map(|&call| call.to_owned()).collect();
        assert_eq!(sent, expected, "{}", needs.method);
    }
}
