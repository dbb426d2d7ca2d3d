//! Transitions per second in virtual time: `cargo run --release -p asl --example bench`.
//!
//! The definition is a watch loop (task, choice, wait) as long runs have it; a transition is one state entered.

use asl::mock::{self, Mock, Mocks};
use asl::{Machine, Start};
use serde_json::json;
use std::time::{Duration, Instant};

/// Rounds of the loop in one execution: as many as the history allows, about.
const ROUNDS: usize = 2_500;
const MEASURED: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let definition = json!({
        "StartAt": "Look",
        "TimeoutSeconds": 1_000_000,
        "States": {
            "Look": {
                "Type": "Task", "Resource": "${Look}", "TimeoutSeconds": 60,
                "Parameters": {"execution.$": "$$.Execution.Name", "state.$": "$"},
                "Retry": [{"ErrorEquals": ["States.ALL"], "MaxDelaySeconds": 30}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Done"}],
                "Next": "IsDone"
            },
            "IsDone": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.decision", "StringEquals": "WAIT", "Next": "Pause"}],
                "Default": "Done"
            },
            "Pause": {"Type": "Wait", "SecondsPath": "$.wait_seconds", "Next": "Look"},
            "Done": {"Type": "Succeed"}
        }
    });
    let machine = Machine::load(&definition).map_err(|errors| errors[0].clone())?;
    let state = json!({
        "decision": "WAIT", "wait_seconds": 30, "run_id": "tpcc-incremental_hudi-0123456789abcdef",
        "plan": {"uri": "s3://runtime/tpcc/runs/0123456789abcdef/plan.json", "sha256": "0".repeat(64)},
        "counts": {"steps": 9, "done": 3, "failed": 0}
    });
    let last = json!({"decision": "DONE"});
    let mut answers = vec![json!({"return": state}); ROUNDS];
    answers.push(json!({"return": last}));
    let answers: Vec<Mock> = answers
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()?;
    let mocks = Mocks([("Look".to_owned(), answers)].into());

    let (begun, mut runs, mut transitions) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed() < MEASURED {
        let start = Start {
            name: "bench".to_owned(),
            input: state.clone(),
            ..Start::default()
        };
        mock::run(&machine, start, &mocks)?;
        runs += 1;
        transitions += 3 * ROUNDS as u64 + 3;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:.0} transitions per second in virtual time ({runs} runs of {ROUNDS} rounds in {seconds:.1} s)",
        transitions as f64 / seconds
    );
    Ok(())
}
