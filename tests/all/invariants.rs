//! What must hold when everything has come to rest, whatever went wrong on the way.

use crate::scenarios::{empty_world, simulation};
use pipeline::run::{Run, RunStatus};
use sim::worker::at_once;
use sim::{Effect, Fault, World};
use std::collections::BTreeMap;
use tasks::port::{Clock, ExecutionStatus, Ledger};
use tasks::record;

/// I1, I5, I7, I8, I9 at rest: no cluster alive, no lock held, every run ended once, nothing unsent, no chain doubled.
pub fn end_state(world: &World) {
    let faults = broken(world);
    assert!(
        faults.is_empty(),
        "{}\n{}",
        faults.join("\n"),
        world.log().join("\n")
    );
}

fn broken(world: &World) -> Vec<String> {
    let mut broken = Vec::new();
    for cluster in world
        .clusters
        .borrow()
        .iter()
        .filter(|cluster| !cluster.over())
    {
        broken.push(format!(
            "I1: cluster {} ({}) is {:?}",
            cluster.id, cluster.name, cluster.state
        ));
    }
    for (key, body) in records(world, "admission") {
        if body["live"] != serde_json::json!([]) || body["tickets"] != serde_json::json!([]) {
            broken.push(format!("I5: admission of {key} is not empty: {body}"));
        }
    }
    for (run_id, _) in records(world, record::OPEN) {
        let run = at_once(record::get_run(world, &run_id));
        broken.push(format!("I7: run {run_id} has not ended: {run:?}"));
    }
    for (entry, _) in records(world, record::OUTBOX) {
        broken.push(format!("I8: {entry} was not sent"));
    }
    let mut ids = BTreeMap::new();
    for mail in world.mails.borrow().iter() {
        let first = ids.entry(mail.id.clone()).or_insert_with(|| mail.clone());
        if first != mail {
            broken.push(format!("I8: mail {} has two contents", mail.id));
        }
    }
    for execution in world.executions.borrow().iter() {
        if execution.status == ExecutionStatus::Running {
            broken.push(format!("I19: execution {} is running", execution.name));
        }
    }
    broken
}

fn records(world: &World, partition: &str) -> Vec<(String, serde_json::Value)> {
    let entries = at_once(world.list(partition, ""))
        .and_then(Result::ok)
        .unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| (entry.key.sort, entry.body))
        .collect()
}

/// Runs a story once without faults, then once for each port call of it and each effect. Gives the number of faults.
pub fn faults_of(story: impl Fn(&World)) -> u32 {
    let calm = empty_world();
    story(&calm);
    settle(&calm);
    end_state(&calm);
    let mut tried = 0;
    for (call, count) in calm.calls() {
        for occurrence in 1..=count {
            for effect in [
                Effect::Throttled,
                Effect::Refused,
                Effect::AnswerLost,
                Effect::RequestLost,
            ] {
                let world = empty_world();
                story(&world);
                let before = world.calls().get(call).copied().unwrap_or(0);
                if occurrence <= before {
                    continue;
                }
                world.inject(Fault {
                    call,
                    occurrence,
                    effect,
                });
                settle(&world);
                let faults = broken(&world);
                let log = world.log();
                assert!(
                    faults.is_empty(),
                    "{call} {occurrence} {effect:?}:\n{}\n{}",
                    faults.join("\n"),
                    log.join("\n")
                );
                no_second_cluster(&world, call, &log);
                tried += 1;
            }
        }
    }
    println!("{tried} faults");
    tried
}

/// I2: at most one extra cluster for an ambiguous create.
fn no_second_cluster(world: &World, call: &str, log: &[String]) {
    let mut runs: Vec<Run> = Vec::new();
    for execution in world.executions.borrow().iter() {
        if let Some(Ok(run)) = at_once(record::get_run(world, &execution.name)) {
            runs.push(run.value);
        }
    }
    for run in runs {
        let clusters = world.clusters.borrow();
        let made = clusters
            .iter()
            .filter(|cluster| cluster.name.contains(&run.run_id))
            .count();
        let allowed = if call == "clusters.create" || call.starts_with("ledger") {
            2
        } else {
            1
        };
        assert!(
            made <= allowed,
            "I2: run {} had {made} clusters\n{}",
            run.run_id,
            log.join("\n")
        );
        assert_eq!(run.status, RunStatus::Ended);
    }
}

/// Runs everything to rest, with the sweep as often as its schedule runs it.
fn settle(world: &World) {
    let mut simulation = simulation(world);
    for _ in 0..60 {
        simulation.run_until(world.now().plus_seconds(300));
        // A sweep that met the fault is followed by the next one.
        let _ = simulation.sweep();
    }
    simulation.run_until(world.now().plus_seconds(6 * 3600));
    let _ = simulation.sweep();
    simulation.run_until(world.now().plus_seconds(6 * 3600));
}
