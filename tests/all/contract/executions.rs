//! What executions must do, whoever keeps them: Step Functions' behaviour as far as tasks rely on it.

use crate::moto;
use crate::wire::nowhere;
use aws::Aws;
use serde_json::{Value, json};
use tasks::error::TaskError;
use tasks::port::{Clock, ExecutionDescription, ExecutionStatus, Executions, PortError, Started};

/// The whole contract. `end` ends an execution, in whatever way.
pub async fn keeps_the_contract<E: Executions + Clock>(
    empty: impl AsyncFn() -> E,
    end: impl AsyncFn(&E, &str),
) {
    a_started_execution_runs_with_its_input(&empty().await).await;
    a_name_is_used_once(&empty().await, &end).await;
    running_ones_are_listed_oldest_first(&empty().await, &end).await;
    a_name_that_cannot_be_one_is_refused(&empty().await).await;
}

fn input(number: usize) -> Value {
    json!({"identifier": "shop", "pipeline": "jdbc_load", "depth": number, "note": "ü \"quoted\""})
}

async fn started(executions: &impl Executions, name: &str, input: &Value) -> Started {
    executions
        .start_execution(name, input)
        .await
        .expect("asked for")
}

async fn described(executions: &impl Executions, name: &str) -> ExecutionDescription {
    let found = executions.describe_execution(name).await;
    found.expect("described").expect("there")
}

async fn a_started_execution_runs_with_its_input<E: Executions + Clock>(executions: &E) {
    assert_eq!(executions.describe_execution("shop-1").await, Ok(None));
    let before = executions.now().plus_seconds(-1);
    assert_eq!(started(executions, "shop-1", &input(1)).await, Started::Now);
    let found = described(executions, "shop-1").await;
    assert_eq!(
        (found.name.as_str(), found.status, &found.input),
        ("shop-1", ExecutionStatus::Running, &input(1))
    );
    assert!(found.started >= before && found.started <= executions.now().plus_seconds(1));
}

async fn a_name_is_used_once<E: Executions>(executions: &E, end: impl AsyncFn(&E, &str)) {
    started(executions, "shop-1", &input(1)).await;
    let other = started(executions, "shop-1", &input(2)).await;
    assert_eq!(other, Started::Before);
    // The same again while it runs: Step Functions answers `Now` as it did the first time, others `Before`. One runs.
    started(executions, "shop-1", &input(1)).await;
    let running = executions.list_running_executions().await.expect("listed");
    assert_eq!(running, [described(executions, "shop-1").await]);
    assert_eq!(running[0].input, input(1));
    end(executions, "shop-1").await;
    assert_eq!(
        started(executions, "shop-1", &input(1)).await,
        Started::Before
    );
    let found = described(executions, "shop-1").await;
    assert_ne!(found.status, ExecutionStatus::Running);
}

async fn running_ones_are_listed_oldest_first<E: Executions>(
    executions: &E,
    end: impl AsyncFn(&E, &str),
) {
    for number in 1..=4 {
        started(executions, &format!("shop-{number}"), &input(number)).await;
    }
    end(executions, "shop-2").await;
    let running = executions.list_running_executions().await.expect("listed");
    let running: Vec<(&str, &Value)> = running
        .iter()
        .map(|execution| (execution.name.as_str(), &execution.input))
        .collect();
    assert_eq!(
        running,
        [
            ("shop-1", &input(1)),
            ("shop-3", &input(3)),
            ("shop-4", &input(4))
        ]
    );
}

async fn a_name_that_cannot_be_one_is_refused(executions: &impl Executions) {
    for name in ["", "shop 1", "shop:1", &"s".repeat(81)] {
        let answer = executions.start_execution(name, &input(1)).await;
        assert!(
            matches!(answer, Err(PortError::Refused { .. })),
            "`{name}`: {answer:?}"
        );
    }
    let longest = "s".repeat(80);
    assert_eq!(started(executions, &longest, &input(1)).await, Started::Now);
}

#[test]
fn the_simulated_executions_keep_the_contract() {
    let end = async |world: &sim::World, name: &str| {
        world.end_execution(name, ExecutionStatus::Aborted);
    };
    sim::worker::at_once(keeps_the_contract(async || sim::World::default(), end))
        .expect("simulated ports answer at once");
}

/// Runs no task: the definition has none.
struct NoTasks;

impl local::runner::Host for NoTasks {
    async fn run_task(&self, task: &str, _input: Value) -> Result<Value, TaskError> {
        Err(TaskError::BadInput(format!("there is no task `{task}`")))
    }

    async fn cuts_waits(&self, _execution: &str) -> bool {
        false
    }
}

#[tokio::test]
async fn the_executions_of_this_machine_keep_the_contract() {
    let definition = json!({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}).to_string();
    let folders = std::cell::RefCell::new(Vec::new());
    let empty = async || {
        let folder = tempfile::tempdir().expect("a folder");
        let local = local::Local::open(folder.path()).expect("opened");
        folders.borrow_mut().push(folder);
        local.with_definition(definition.clone())
    };
    let end = async |local: &local::Local, name: &str| {
        let driven = local::runner::drive(local, name, &NoTasks).await;
        assert_eq!(driven.expect("driven"), ExecutionStatus::Succeeded);
    };
    keeps_the_contract(empty, end).await;
}

/// A state machine on moto, which starts executions and never moves them.
pub async fn on_moto(caller: &str) -> Aws {
    let config = moto::server().config(caller).await;
    let stack = Aws::new(config, nowhere(&moto::unique("executions")));
    let (_, name) = stack
        .resources()
        .state_machine
        .rsplit_once(':')
        .expect("an ARN");
    let definition = json!({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}});
    sfn("FOUNDATION")
        .await
        .create_state_machine()
        .name(name)
        .definition(definition.to_string())
        .role_arn("arn:aws:iam::123456789012:role/pipeline")
        .send()
        .await
        .expect("a state machine");
    stack
}

async fn sfn(caller: &str) -> aws_sdk_sfn::Client {
    aws_sdk_sfn::Client::new(&moto::server().config(caller).await)
}

#[tokio::test]
async fn the_executions_of_the_adapter_keep_the_contract_on_moto() {
    let caller = moto::unique("EXECUTIONS");
    let end = async |aws: &Aws, name: &str| {
        let machine = &aws.resources().state_machine;
        let machine = machine.replace(":stateMachine:", ":execution:");
        let stop = sfn("FOUNDATION").await.stop_execution();
        let stopped = stop.execution_arn(format!("{machine}:{name}")).send().await;
        stopped.expect("stopped");
    };
    keeps_the_contract(async || on_moto(&caller).await, end).await;
}
