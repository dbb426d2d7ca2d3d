//! The adapters of EMR and Step Functions on exchanges that emulators do not have: lost answers, refusals, pages, states, reasons.

use crate::golden;
use crate::judge;
use crate::wire::{Answer, Wire, error, ok};
use aws::Aws;
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use tasks::port::{
    ClusterState, Clusters, ExecutionStatus, Executions, PortError, StepRequest, StepState,
};

/// Plays a story against prepared answers; every one must be asked for, and every request fit its model.
async fn replay<T>(
    answers: impl IntoIterator<Item = Answer>,
    story: impl AsyncFnOnce(&Aws) -> T,
) -> (T, Vec<(String, Value)>) {
    let answers: Vec<Answer> = answers.into_iter().collect();
    let prepared = answers.len();
    let wire = Wire::start(answers);
    let end = story(&wire.aws().await).await;
    let bodies = wire.bodies();
    assert_eq!(bodies.len(), prepared, "{bodies:?}");
    judge::fit(&wire.requests());
    (end, bodies)
}

fn kind<T>(answer: &Result<T, PortError>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(PortError::Throttled { .. }) => "throttled",
        Err(PortError::Unknown { .. }) => "unknown",
        Err(PortError::Refused { .. }) => "refused",
    }
}

fn step(name: &str) -> StepRequest {
    StepRequest {
        name: name.to_owned(),
        arguments: ["headwater-worker", "step", "--index", "0"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// What a service may say instead of an answer, and what it means of a request that must not be sent twice.
fn troubles() -> Vec<(Answer, &'static str)> {
    vec![
        (Answer::Lost, "unknown"),
        (
            error(500, "InternalServerException", "try again"),
            "unknown",
        ),
        (error(503, "ServiceUnavailable", "try again"), "unknown"),
        (
            error(400, "ThrottlingException", "Rate exceeded"),
            "throttled",
        ),
        (
            error(
                400,
                "ValidationException",
                "The requested number of instances exceeds your EC2 quota",
            ),
            "refused",
        ),
        (
            error(400, "AccessDeniedException", "not authorized"),
            "refused",
        ),
        (ok(json!({})), "unknown"),
    ]
}

#[tokio::test]
async fn a_cluster_is_asked_for_once_whatever_is_heard() {
    let spec = golden::cluster_of("incremental_hudi_spark");
    for (trouble, expected) in troubles() {
        let (answer, bodies) = replay([trouble.clone()], async |aws: &Aws| {
            aws.create_cluster("headwater:run-c1", &spec, &[]).await
        })
        .await;
        assert_eq!(kind(&answer), expected, "{trouble:?}: {answer:?}");
        assert_eq!(bodies[0].0, "RunJobFlow");
    }
}

#[tokio::test]
async fn steps_are_added_once_whatever_is_heard() {
    for (trouble, expected) in troubles() {
        let (answer, bodies) = replay([trouble.clone()], async |aws: &Aws| {
            aws.add_steps("j-1", &[step("0#1")]).await
        })
        .await;
        assert_eq!(kind(&answer), expected, "{trouble:?}: {answer:?}");
        assert_eq!(bodies[0].0, "AddJobFlowSteps");
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_until_it_is_answered() {
    let answers = [
        Answer::Lost,
        error(500, "InternalServerException", "try again"),
        ok(json!({"Clusters": []})),
    ];
    let (answer, _) = replay(answers, async |aws: &Aws| {
        aws.list_clusters(Timestamp(0)).await
    })
    .await;
    assert_eq!(answer, Ok(vec![]));
}

/// The request is the plan's, member by member, with the name, and the tags of plan and caller.
#[tokio::test]
async fn every_golden_cluster_is_sent_as_planned() {
    let golden = golden::clusters();
    assert!(golden.len() >= 10, "{:?}", golden.keys());
    for (name, spec) in golden {
        let tags = [
            ("headwater:run".to_owned(), name.clone()),
            ("headwater:identifier".to_owned(), "tpcc".to_owned()),
        ];
        let (answer, bodies) = replay([ok(json!({"JobFlowId": "j-1"}))], async |aws: &Aws| {
            aws.create_cluster("headwater:run-c1", &spec, &tags).await
        })
        .await;
        assert_eq!(answer, Ok("j-1".to_owned()));
        let mut expected = spec.run_job_flow.clone();
        expected["Name"] = json!("headwater:run-c1");
        let planned = expected["Tags"].as_array_mut().expect("plans have tags");
        planned.push(json!({"Key": "headwater:run", "Value": name}));
        planned.sort_by_key(|tag| tag["Key"].to_string());
        assert_eq!(bodies, [("RunJobFlow".to_owned(), expected)], "{name}");
    }
}

#[tokio::test]
async fn a_request_with_what_is_not_known_is_refused_by_name() {
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 5] = [
        (
            |flow| flow["AutoScalingRole"] = json!("role"),
            "`AutoScalingRole`",
        ),
        (
            |flow| flow["Instances"]["Ec2KeyName"] = json!("key"),
            "`Ec2KeyName`",
        ),
        (
            |flow| flow["Instances"]["InstanceGroups"][0]["BidPrice"] = json!("1"),
            "`BidPrice`",
        ),
        (
            |flow| flow["Configurations"][0]["Configurations"] = json!([]),
            "`Configurations`",
        ),
        (|flow| *flow = Value::Null, "null"),
    ];
    for (edit, named) in edits {
        let mut spec = golden::cluster_of("incremental_hudi_spark");
        edit(&mut spec.run_job_flow);
        let (answer, _) = replay([], async |aws: &Aws| {
            aws.create_cluster("headwater:run-c1", &spec, &[]).await
        })
        .await;
        let Err(PortError::Refused { message, .. }) = answer else {
            panic!("{named}: {answer:?}");
        };
        assert!(message.contains(named), "{message}");
    }
}

fn listed_cluster(id: usize, state: &str) -> Value {
    json!({"Id": format!("j-{id}"), "Name": format!("stack:run-c{id}"), "NormalizedInstanceHours": 0,
        "Status": {"State": state, "StateChangeReason": {}, "Timeline": {"CreationDateTime": 1.7672256005E9}}})
}

#[tokio::test]
async fn every_page_of_a_listing_is_read() {
    let page = |ids: std::ops::Range<usize>| -> Vec<Value> {
        ids.map(|id| listed_cluster(id, "RUNNING")).collect()
    };
    let answers = [
        ok(json!({"Clusters": page(0..50), "Marker": "second"})),
        ok(json!({"Clusters": [], "Marker": "third"})),
        ok(json!({"Clusters": page(50..53)})),
    ];
    let (answer, bodies) = replay(answers, async |aws: &Aws| {
        aws.list_clusters(Timestamp(1_767_225_600_500)).await
    })
    .await;
    let listed = answer.expect("listed");
    assert_eq!(listed.len(), 53);
    assert_eq!(listed[52].name, "stack:run-c52");
    assert_eq!(listed[0].created, Timestamp(1_767_225_600_500));
    let asked: Vec<&Value> = bodies.iter().map(|(_, body)| body).collect();
    assert_eq!(*asked[0], json!({"CreatedAfter": 1767225600.5}));
    assert_eq!(asked[1]["Marker"], "second");
    assert_eq!(asked[2]["Marker"], "third");
}

#[tokio::test]
async fn every_state_of_a_cluster_is_known_and_a_new_one_is_said_so() {
    let states = [
        ("STARTING", ClusterState::Starting),
        ("BOOTSTRAPPING", ClusterState::Bootstrapping),
        ("RUNNING", ClusterState::Running),
        ("WAITING", ClusterState::Waiting),
        ("TERMINATING", ClusterState::Terminating),
        ("TERMINATED", ClusterState::Terminated),
        ("TERMINATED_WITH_ERRORS", ClusterState::TerminatedWithErrors),
        (
            "HIBERNATING",
            ClusterState::Unrecognised("HIBERNATING".to_owned()),
        ),
    ];
    let clusters: Vec<Value> = states
        .iter()
        .enumerate()
        .map(|(id, (state, _))| listed_cluster(id, state))
        .collect();
    let (answer, _) = replay([ok(json!({"Clusters": clusters}))], async |aws: &Aws| {
        aws.list_clusters(Timestamp(0)).await
    })
    .await;
    let listed = answer.expect("listed");
    for (cluster, (text, state)) in listed.iter().zip(&states) {
        assert_eq!(cluster.state, *state, "{text}");
    }
    assert_eq!(listed.len(), states.len());
}

#[tokio::test]
async fn a_cluster_says_why_it_ended() {
    for code in [
        "INTERNAL_ERROR",
        "VALIDATION_ERROR",
        "INSTANCE_FAILURE",
        "INSTANCE_FLEET_TIMEOUT",
        "BOOTSTRAP_FAILURE",
        "USER_REQUEST",
        "STEP_FAILURE",
        "ALL_STEPS_COMPLETED",
        "COSMIC_RAY",
    ] {
        let reason = json!({"Code": code, "Message": "On the master instance (i-1), bootstrap action 1 returned a non-zero return code"});
        let cluster = json!({"Id": "j-1", "Name": "stack:run-c1", "Status": {"State": "TERMINATED_WITH_ERRORS", "StateChangeReason": reason}});
        let (answer, _) = replay([ok(json!({"Cluster": cluster}))], async |aws: &Aws| {
            aws.describe_cluster("j-1").await
        })
        .await;
        let described = answer.expect("described").expect("there");
        assert_eq!(described.state, ClusterState::TerminatedWithErrors);
        assert_eq!(described.reason_code.as_deref(), Some(code));
        let reason = described.reason.expect("a reason");
        assert!(reason.starts_with("On the master instance"), "{reason}");
    }
}

#[tokio::test]
async fn only_a_cluster_that_emr_does_not_know_is_none() {
    for (code, message, expected) in [
        (
            "InvalidRequestException",
            "Cluster id 'j-1' is not valid.",
            "none",
        ),
        (
            "InvalidRequestException",
            "Cluster id 'j-1' does not exist.",
            "none",
        ),
        (
            "InvalidRequestException",
            "The request is malformed.",
            "refused",
        ),
        (
            "AccessDeniedException",
            "Cluster id 'j-1' is not valid for you.",
            "refused",
        ),
    ] {
        let (answer, _) = replay([error(400, code, message)], async |aws: &Aws| {
            aws.describe_cluster("j-1").await
        })
        .await;
        let found = match answer {
            Ok(None) => "none",
            other => kind(&other),
        };
        assert_eq!(found, expected, "{code}: {message}");
    }
}

#[tokio::test]
async fn steps_have_their_states_and_their_failures_in_one_line() {
    let details = |details: Value| json!({"State": "FAILED", "FailureDetails": details});
    let cases = [
        (json!({"State": "PENDING"}), StepState::Pending, None),
        (
            json!({"State": "CANCEL_PENDING"}),
            StepState::CancelPending,
            None,
        ),
        (json!({"State": "RUNNING"}), StepState::Running, None),
        (json!({"State": "COMPLETED"}), StepState::Completed, None),
        (json!({"State": "CANCELLED"}), StepState::Cancelled, None),
        (
            json!({"State": "INTERRUPTED"}),
            StepState::Interrupted,
            None,
        ),
        (
            json!({"State": "PAUSED"}),
            StepState::Unrecognised("PAUSED".to_owned()),
            None,
        ),
        (json!({}), StepState::Unrecognised(String::new()), None),
        (details(json!({})), StepState::Failed, None),
        (
            details(
                json!({"Reason": "Unknown Error.", "LogFile": "s3://logs/j-1/steps/s-1/stderr.gz"}),
            ),
            StepState::Failed,
            Some("Unknown Error. (s3://logs/j-1/steps/s-1/stderr.gz)"),
        ),
        (
            details(
                json!({"Reason": "Main Class not found.", "Message": "Exception in thread\n  \"main\"", "LogFile": "s3://logs/a"}),
            ),
            StepState::Failed,
            Some("Main Class not found.: Exception in thread \"main\" (s3://logs/a)"),
        ),
        (
            details(json!({"LogFile": "s3://logs/a"})),
            StepState::Failed,
            Some("(s3://logs/a)"),
        ),
    ];
    let steps: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(id, (status, ..))| json!({"Id": format!("s-{id}"), "Name": format!("{id}#1"), "Status": status}))
        .collect();
    let (first, second) = steps.split_at(5);
    let answers = [
        ok(json!({"Steps": first, "Marker": "more"})),
        ok(json!({"Steps": second})),
    ];
    let (answer, bodies) =
        replay(answers, async |aws: &Aws| aws.list_steps("j-1", &[]).await).await;
    let listed = answer.expect("listed");
    assert_eq!(listed.len(), cases.len());
    for (step, (status, state, failure)) in listed.iter().zip(&cases) {
        assert_eq!(
            (&step.state, step.failure.as_deref()),
            (state, *failure),
            "{status}"
        );
    }
    assert_eq!(bodies[0].1, json!({"ClusterId": "j-1"}));
    assert_eq!(bodies[1].1, json!({"ClusterId": "j-1", "Marker": "more"}));
}

#[tokio::test]
async fn steps_are_asked_for_by_state() {
    let states = [
        StepState::Pending,
        StepState::CancelPending,
        StepState::Running,
    ];
    let (answer, bodies) = replay([ok(json!({"Steps": []}))], async |aws: &Aws| {
        aws.list_steps("j-1", &states).await
    })
    .await;
    assert_eq!(answer, Ok(vec![]));
    let asked = json!({"ClusterId": "j-1", "StepStates": ["PENDING", "CANCEL_PENDING", "RUNNING"]});
    assert_eq!(bodies[0].1, asked);
}

/// A step that was over already is no fault: its state says so in the next listing.
#[tokio::test]
async fn steps_are_interrupted_as_many_at_once_as_emr_takes() {
    let ids: Vec<String> = (0..300).map(|id| format!("s-{id}")).collect();
    let over = json!({"StepId": "s-0", "Status": "FAILED", "Reason": "Step is already terminal"});
    let answers = [
        ok(json!({"CancelStepsInfoList": [over]})),
        ok(json!({"CancelStepsInfoList": []})),
    ];
    let (answer, bodies) = replay(answers, async |aws: &Aws| {
        aws.cancel_steps("j-1", &ids).await
    })
    .await;
    assert_eq!(answer, Ok(()));
    for ((operation, body), ids) in bodies.iter().zip([&ids[..256], &ids[256..]]) {
        assert_eq!(operation, "CancelSteps");
        let expected =
            json!({"ClusterId": "j-1", "StepIds": ids, "StepCancellationOption": "SEND_INTERRUPT"});
        assert_eq!(*body, expected);
    }
    let (nothing, _) = replay([], async |aws: &Aws| aws.cancel_steps("j-1", &[]).await).await;
    assert_eq!(nothing, Ok(()));
}

/// Of the contract, what moto lacks: what is not there, too much, over or protected is refused, with EMR's word.
#[tokio::test]
async fn what_emr_refuses_is_refused_with_its_word() {
    for (code, message) in [
        ("InvalidRequestException", "Cluster id 'j-1' is not valid."),
        (
            "ValidationException",
            "A job flow that is shutting down, terminated, or finished may not be modified.",
        ),
        (
            "ValidationException",
            "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') for cluster exceeded.",
        ),
        (
            "ValidationException",
            "Could not shut down one or more job flows since they are termination protected.",
        ),
    ] {
        let answer = || [error(400, code, message)];
        let ids = ["s-1".to_owned()];
        let refusals = [
            replay(answer(), async |aws: &Aws| {
                aws.add_steps("j-1", &[step("0#1")]).await.map(drop)
            })
            .await
            .0,
            replay(answer(), async |aws: &Aws| {
                aws.list_steps("j-1", &[]).await.map(drop)
            })
            .await
            .0,
            replay(answer(), async |aws: &Aws| {
                aws.cancel_steps("j-1", &ids).await
            })
            .await
            .0,
            replay(answer(), async |aws: &Aws| {
                aws.terminate_cluster("j-1").await
            })
            .await
            .0,
        ];
        for refusal in refusals {
            assert_eq!(kind(&refusal), "refused");
            assert!(format!("{refusal:?}").contains(message), "{refusal:?}");
        }
    }
}

fn execution(name: &str, status: &str) -> Value {
    let machine = "arn:aws:states:eu-central-1:123456789012";
    json!({"executionArn": format!("{machine}:execution:pipeline:{name}"), "stateMachineArn": format!("{machine}:stateMachine:pipeline"),
        "name": name, "status": status, "startDate": 1.7672256E9, "input": format!("{{\"key\":\"{name}\"}}")})
}

#[tokio::test]
async fn every_status_of_an_execution_is_known_and_a_new_one_is_no_answer() {
    let statuses = [
        ("RUNNING", Some(ExecutionStatus::Running)),
        ("PENDING_REDRIVE", Some(ExecutionStatus::Running)),
        ("SUCCEEDED", Some(ExecutionStatus::Succeeded)),
        ("FAILED", Some(ExecutionStatus::Failed)),
        ("TIMED_OUT", Some(ExecutionStatus::TimedOut)),
        ("ABORTED", Some(ExecutionStatus::Aborted)),
        ("HIBERNATING", None),
    ];
    for (text, expected) in statuses {
        let (answer, _) = replay([ok(execution("a", text))], async |aws: &Aws| {
            aws.describe_execution("a").await
        })
        .await;
        match expected {
            Some(status) => {
                let described = answer.expect("described").expect("there");
                assert_eq!(
                    (described.status, described.input),
                    (status, json!({"key": "a"}))
                );
            }
            None => assert_eq!(kind(&answer), "unknown", "{answer:?}"),
        }
    }
}

#[tokio::test]
async fn running_executions_are_read_from_all_pages_and_those_that_end_meanwhile_are_left_out() {
    let answers = [
        ok(
            json!({"executions": [execution("d", "RUNNING"), execution("c", "RUNNING")], "nextToken": "more"}),
        ),
        ok(json!({"executions": [execution("b", "RUNNING"), execution("a", "RUNNING")]})),
        ok(execution("a", "RUNNING")),
        ok(execution("b", "SUCCEEDED")),
        error(400, "ExecutionDoesNotExist", "Execution Does Not Exist"),
        ok(execution("d", "RUNNING")),
    ];
    let (answer, bodies) = replay(answers, async |aws: &Aws| {
        aws.list_running_executions().await
    })
    .await;
    let running = answer.expect("listed");
    let names: Vec<&str> = running
        .iter()
        .map(|execution| execution.name.as_str())
        .collect();
    assert_eq!(names, ["a", "d"]);
    assert_eq!(bodies[1].1["nextToken"], "more");
}
