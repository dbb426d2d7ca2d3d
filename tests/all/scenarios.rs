//! The real definition with the real tasks in the simulated account: each story is a run, or a few, from trigger to end.

use crate::invariants::{end_state, faults_of};
use asl::Machine;
use pipeline::metric::{About, MetricName};
use pipeline::normal;
use pipeline::outcome::Outcome;
use pipeline::path::CAPTURE_FILE;
use pipeline::plan::Engine;
use pipeline::position::{CaptureState, Position, Seed};
use pipeline::run::{Chain, Run, RunStatus, StartInput, Trigger, TriggerKind};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use sim::machine::Simulation;
use sim::worker::{Behaviour, End, at_once};
use sim::{Effect, Fault, Seen, World};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tasks::control::{self, Cancelled};
use tasks::port::{Clock, ClusterState, ExecutionStatus, Ledger, LedgerKey, Objects};
use tasks::{Settings, record};

const DEFINITION: &str = include_str!("../../statemachines/pipeline.asl.json");
const HOUR: i64 = 3600;

/// All of them, for what must hold of all together.
pub const STORIES: [fn(); 33] = [
    one_command_runs_the_chain_and_each_run_sends_one_mail,
    a_failed_step_sends_one_mail_and_terminates_the_cluster,
    a_step_that_ends_without_a_result_has_failed_whatever_its_state,
    a_resume_runs_what_is_left_and_then_chains_for_the_root,
    a_resume_of_a_reload_goes_on_with_the_reload,
    a_resume_covers_what_is_enabled_now,
    the_third_skip_in_a_row_is_told_and_not_the_fourth,
    a_second_resume_of_a_run_that_never_had_a_plan_repeats_nothing,
    the_same_trigger_twice_is_one_run,
    what_cannot_be_planned_is_a_failed_run_with_a_mail_and_no_cluster,
    a_configuration_that_is_not_the_generation_that_it_states_is_waited_for,
    a_table_that_a_pipeline_cannot_do_is_in_the_mail_with_the_reason,
    a_faulty_table_fails_alone,
    nothing_to_do_needs_no_cluster,
    a_dead_capture_does_not_look_like_a_quiet_database,
    a_table_that_was_never_seeded_fails_alone,
    a_table_that_cannot_be_trusted_fails_alone_until_it_is_seeded_anew,
    cancel_ends_a_run_at_any_moment,
    a_run_is_given_up_at_its_deadline,
    a_second_run_waits_for_the_first_and_a_third_merges_into_it,
    waiting_is_bounded,
    an_hour_in_the_queue_fits_the_history_however_often_the_first_looks_are,
    a_cluster_that_never_goes_away_is_watched_for_a_day_by_its_execution,
    three_hundred_tables_go_in_waves_that_the_cluster_takes,
    stop_on_failure_runs_nothing_more,
    a_lost_cluster_is_replaced_once_and_only_what_was_not_done_runs_again,
    a_cluster_that_a_person_ended_is_not_replaced,
    an_aborted_execution_is_finished_by_the_sweep_wherever_it_was,
    a_cluster_that_nobody_owns_is_terminated_by_the_sweep,
    a_mail_that_was_refused_goes_out_with_the_sweep,
    a_cluster_that_does_not_terminate_keeps_its_locks_and_is_told,
    the_state_is_as_small_for_ten_thousand_tables,
    no_single_fault_leaves_anything_behind,
];

fn machine() -> Machine {
    let definition: Value = serde_json::from_str(DEFINITION).expect("the definition is JSON");
    Machine::load(&definition).expect("the definition loads")
}

fn settings() -> Settings {
    Settings {
        stack: "local".to_owned(),
        poll_seconds: 30,
    }
}

fn pipeline_item(name: &str, more: Value) -> Value {
    let mut item = json!({"identifier": "shop", "config": format!("pipeline::system::{name}"), "engine": "native", "notify": "all"});
    for (key, value) in more.as_object().expect("an object") {
        item[key] = value.clone();
    }
    item
}

/// `jdbc_load -> seed_hudi -> incremental_hudi` over so many tables.
fn items(tables: usize) -> Vec<Value> {
    let next = |name: &str| json!({"next_pipeline": {"pipeline_type": name, "enabled": true}});
    let mut items = vec![
        json!({"identifier": "shop", "config": "database::config", "secret": "shop", "target_db_name": "lake", "target_table_prefix": "shop"}),
        pipeline_item("jdbc_load", next("seed_hudi")),
        pipeline_item("seed_hudi", next("incremental_hudi")),
        pipeline_item("incremental_hudi", json!({})),
    ];
    for table in 0..tables {
        items.push(json!({
            "identifier": "shop", "config": format!("step::system::public.t{table:04}"), "enabled": true,
            "hudi_config": {"primary_key": "id", "watermark": "trx_seq", "is_partitioned": false},
        }));
    }
    items
}

thread_local! {
    /// What tasks called in the stories of this thread.
    static SEEN: Rc<RefCell<BTreeSet<Seen>>> = Rc::default();
}

pub fn seen() -> BTreeSet<Seen> {
    SEEN.with(|seen| seen.borrow().clone())
}

/// An account without anything.
pub fn empty_world() -> World {
    let mut world = World::default();
    world.seen = SEEN.with(Rc::clone);
    world
}

pub fn world(tables: usize) -> World {
    let world = empty_world();
    *world.items.borrow_mut() = items(tables);
    world
}

pub fn simulation(world: &World) -> Simulation<'_> {
    Simulation::new(world, settings(), machine())
}

fn manual(pipeline: &str, key: &str) -> StartInput {
    StartInput {
        identifier: "shop".into(),
        pipeline: pipeline.into(),
        trigger: Trigger {
            kind: TriggerKind::Manual,
            id: key.into(),
            due: None,
            interval_minutes: None,
        },
        root_run_id: None,
        resumes: None,
        depth: 0,
        only: None,
        chain: Chain::Configured,
        engine: None,
    }
}

fn start(world: &World, input: &StartInput) -> String {
    at_once(control::start(world, input))
        .expect("at once")
        .expect("started")
        .run_id
}

fn run_for(simulation: &mut Simulation<'_>, seconds: i64) {
    simulation.run_until(simulation.world.now().plus_seconds(seconds));
}

fn run(world: &World, run_id: &str) -> Run {
    at_once(record::get_run(world, run_id))
        .expect("at once")
        .expect("recorded")
        .value
}

fn runs(world: &World) -> BTreeMap<String, Run> {
    let listed: Vec<record::Versioned<String>> =
        at_once(record::list(world, &record::runs_partition("shop"), ""))
            .expect("at once")
            .expect("listed");
    listed
        .into_iter()
        .map(|id| (id.value.clone(), run(world, &id.value)))
        .collect()
}

fn outcome_of(world: &World, pipeline: &str) -> Option<Outcome> {
    runs(world)
        .values()
        .find(|run| run.input.pipeline == pipeline)
        .and_then(|run| run.outcome)
}

fn mails(world: &World) -> Vec<String> {
    world
        .mails
        .borrow()
        .iter()
        .map(|mail| mail.subject.clone())
        .collect()
}

/// What was told about a pipeline, or about the stack as a whole, in order.
fn numbers(world: &World, pipeline: Option<&str>) -> BTreeMap<MetricName, Vec<f64>> {
    let asked = pipeline.map_or(About::Stack, |pipeline| About::Pipeline {
        identifier: "shop".into(),
        pipeline: pipeline.into(),
    });
    let mut numbers: BTreeMap<MetricName, Vec<f64>> = BTreeMap::new();
    for metric in world.metrics.borrow().iter() {
        if metric.about == asked {
            numbers.entry(metric.name).or_default().push(metric.value);
        }
    }
    numbers
}

/// The numbers of one run by its outcome.
fn counted_as(outcome: MetricName) -> [(MetricName, Vec<f64>); 5] {
    [
        MetricName::RunsSucceeded,
        MetricName::RunsPartial,
        MetricName::RunsFailed,
        MetricName::RunsAborted,
        MetricName::RunsSkipped,
    ]
    .map(|name| (name, vec![f64::from(u8::from(name == outcome))]))
}

fn behave(world: &World, table: &str, seconds: i64, end: End) {
    world
        .behaviours
        .borrow_mut()
        .insert(table.into(), Behaviour { seconds, end });
}

/// Writes what the worker and capture leave behind: a seeded position for each table, and a heartbeat.
fn seeded(world: &World, tables: usize, heartbeat: Timestamp) {
    let zones = world.deployment.zones_of("shop");
    for table in 0..tables {
        let position = Position {
            schema_version: 1,
            epoch: Some("epoch".into()),
            seed: Some(Seed {
                run_id: "seed".into(),
                load_run_id: "load".into(),
                t0: ChangeSeq::new(Timestamp(0), 0),
                load_ended: Timestamp(0),
                rows: 1,
            }),
            applied: None,
            complete_through: None,
            engine: Engine::Native,
            pending: None,
            needs_reseed: None,
        };
        let silver = zones.silver_table(&format!("shop_public_t{table:04}"));
        at_once(tasks::position::write(world, &silver, None, &position))
            .expect("at once")
            .expect("written");
    }
    let mut state = json!({
        "schema_version": 1, "epoch": "epoch", "slot": "headwater_shop", "heartbeat": heartbeat, "flushed_lsn": "0/0",
        "started": 0, "last_seq": ChangeSeq::new(Timestamp(0), 0), "needs_reseed": {},
    });
    // Fields that capture adds for itself do not matter here.
    for field in [
        "tables",
        "system_identifier",
        "slot_lsn",
        "created_lsn",
        "database",
    ] {
        if serde_json::from_value::<CaptureState>(state.clone()).is_ok() {
            break;
        }
        state[field] = if field == "tables" {
            json!([])
        } else {
            json!("")
        };
    }
    let uri = format!("{}/{CAPTURE_FILE}", zones.changes_root("shop"));
    at_once(world.put(&uri, state.to_string().as_bytes()))
        .expect("at once")
        .expect("put");
}

fn change_file(world: &World, table: usize) {
    let zones = world.deployment.zones_of("shop");
    let uri = format!(
        "{}/incremental/shop/public/t{table:04}/20260101/20260101-000001000.parquet",
        zones.bronze
    );
    at_once(world.put(&uri, b"PAR1"))
        .expect("at once")
        .expect("put");
}

#[test]
fn one_command_runs_the_chain_and_each_run_sends_one_mail() {
    let world = world(3);
    seeded(&world, 3, world.now().plus_seconds(HOUR));
    change_file(&world, 1);
    start(&world, &manual("jdbc_load", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    for pipeline in ["jdbc_load", "seed_hudi", "incremental_hudi"] {
        assert_eq!(
            outcome_of(&world, pipeline),
            Some(Outcome::Succeeded),
            "{pipeline}"
        );
    }
    assert_eq!(world.clusters.borrow().len(), 3);
    assert_eq!(mails(&world).len(), 3);
    assert_eq!(
        world.clusters.borrow()[2].steps.len(),
        1,
        "only the table with changes is merged"
    );
    end_state(&world);
}

#[test]
fn a_failed_step_sends_one_mail_and_terminates_the_cluster() {
    let world = world(3);
    behave(
        &world,
        "public.t0001",
        60,
        End::Fails {
            error: "TypeUnsupported",
        },
    );
    let id = start(&world, &manual("jdbc_load", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    assert_eq!(
        mails(&world),
        ["[headwater] shop jdbc_load: PARTIAL (1 of 3 steps failed)"]
    );
    assert!(
        world.mails.borrow()[0]
            .body
            .contains("public.t0001: TypeUnsupported")
    );
    assert_eq!(
        runs(&world).len(),
        1,
        "nothing is chained after a partial run"
    );
    end_state(&world);
}

#[test]
fn a_step_that_ends_without_a_result_has_failed_whatever_its_state() {
    for end in [End::Vanishes, End::ForgetsResult] {
        let world = world(2);
        behave(&world, "public.t0000", 60, end);
        let id = start(&world, &manual("jdbc_load", "k"));
        run_for(&mut simulation(&world), 6 * HOUR);
        assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
        assert!(
            world.mails.borrow()[0]
                .body
                .contains("public.t0000: NoResult")
        );
        end_state(&world);
    }
}

#[test]
fn a_resume_runs_what_is_left_and_then_chains_for_the_root() {
    let world = world(3);
    seeded(&world, 3, world.now().plus_seconds(HOUR));
    behave(&world, "public.t0002", 60, End::Vanishes);
    let root = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 2 * HOUR);
    assert_eq!(runs(&world).len(), 1);
    world.behaviours.borrow_mut().clear();
    let input = at_once(control::resume(&world, &root))
        .expect("at once")
        .expect("something is left");
    assert_eq!(
        input.only.as_deref(),
        Some(&["public.t0002".to_owned()][..])
    );
    let resume = start(&world, &input);
    run_for(&mut simulation, 6 * HOUR);
    assert_eq!(run(&world, &resume).outcome, Some(Outcome::Succeeded));
    assert_eq!(outcome_of(&world, "seed_hudi"), Some(Outcome::Succeeded));
    assert!(
        at_once(control::resume(&world, &root))
            .expect("at once")
            .is_err(),
        "nothing is left"
    );
    end_state(&world);
}

#[test]
fn a_resume_of_a_reload_goes_on_with_the_reload() {
    let world = world(3);
    seeded(&world, 3, world.now().plus_seconds(HOUR));
    behave(&world, "public.t0001", 60, End::Vanishes);
    let tables = ["public.t0000", "public.t0001"].map(str::to_owned);
    let reload = control::reload("shop", tables.to_vec(), "k");
    let root = start(&world, &reload);
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 2 * HOUR);
    assert_eq!(run(&world, &root).outcome, Some(Outcome::Partial));
    world.behaviours.borrow_mut().clear();
    let resume = at_once(control::resume(&world, &root))
        .expect("at once")
        .expect("something is left");
    start(&world, &resume);
    run_for(&mut simulation, 6 * HOUR);
    let seed = runs(&world)
        .into_values()
        .find(|run| run.input.pipeline == "seed_hudi")
        .expect("the seed follows");
    assert_eq!(seed.outcome, Some(Outcome::Succeeded));
    assert_eq!(seed.input.only, reload.only);
    end_state(&world);
}

#[test]
fn a_resume_covers_what_is_enabled_now() {
    let world = world(4);
    seeded(&world, 4, world.now().plus_seconds(HOUR));
    world.items.borrow_mut()[7]["enabled"] = json!(false);
    for table in ["public.t0001", "public.t0002"] {
        behave(&world, table, 60, End::Vanishes);
    }
    let root = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 2 * HOUR);
    assert_eq!(run(&world, &root).outcome, Some(Outcome::Partial));
    world.behaviours.borrow_mut().clear();
    world.items.borrow_mut()[5]["enabled"] = json!(false);
    world.items.borrow_mut()[7]["enabled"] = json!(true);
    let input = at_once(control::resume(&world, &root))
        .expect("at once")
        .expect("something is left");
    let resume = start(&world, &input);
    run_for(&mut simulation, 6 * HOUR);
    let resume = run(&world, &resume);
    assert_eq!(
        resume.outcome,
        Some(Outcome::Succeeded),
        "{:?}",
        resume.cause
    );
    let ran: Vec<String> = world.clusters.borrow()[1]
        .steps
        .iter()
        .map(|step| step.request.name.clone())
        .collect();
    assert_eq!(ran, ["00001-a1-public.t0002", "00002-a1-public.t0003"]);
    assert_eq!(outcome_of(&world, "seed_hudi"), Some(Outcome::Succeeded));
    end_state(&world);
}

#[test]
fn the_third_skip_in_a_row_is_told_and_not_the_fourth() {
    let world = world(1);
    world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
    world.items.borrow_mut()[1]["notify"] = json!("changes");
    behave(&world, "public.t0000", 5 * HOUR, End::Succeeds { rows: 1 });
    start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 60);
    for hour in 1..=4 {
        let mut input = manual("jdbc_load", &format!("at {hour}"));
        input.trigger.kind = TriggerKind::Schedule;
        input.trigger.due = Some(world.now());
        input.trigger.interval_minutes = Some(60);
        let id = start(&world, &input);
        run_for(&mut simulation, HOUR);
        assert_eq!(run(&world, &id).outcome, Some(Outcome::Skipped));
        assert_eq!(
            mails(&world).len(),
            usize::from(hour >= 3),
            "{hour} skipped"
        );
    }
    run_for(&mut simulation, 6 * HOUR);
    end_state(&world);
}

#[test]
fn a_second_resume_of_a_run_that_never_had_a_plan_repeats_nothing() {
    let world = world(3);
    let good = world.items.borrow().clone();
    world.items.borrow_mut()[0]["secert"] = json!("x");
    let root = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, HOUR);
    assert_eq!(run(&world, &root).outcome, Some(Outcome::Failed));
    *world.items.borrow_mut() = good;
    behave(&world, "public.t0002", 60, End::Vanishes);
    let mut resume = || {
        let input = at_once(control::resume(&world, &root))
            .expect("at once")
            .expect("something is left");
        let id = start(&world, &input);
        run_for(&mut simulation, 2 * HOUR);
        (input.only, run(&world, &id).outcome)
    };
    assert_eq!(resume(), (None, Some(Outcome::Partial)));
    world.behaviours.borrow_mut().clear();
    let only = vec!["public.t0002".to_owned()];
    assert_eq!(resume(), (Some(only), Some(Outcome::Succeeded)));
    end_state(&world);
}

#[test]
fn the_same_trigger_twice_is_one_run() {
    let world = world(1);
    let input = serde_json::to_value(manual("jdbc_load", "due-at-noon")).expect("JSON");
    world
        .begin_execution("delivery-1", &input)
        .expect("started");
    world
        .begin_execution("delivery-2", &input)
        .expect("started");
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(
        runs(&world)
            .values()
            .filter(|run| run.input.pipeline == "jdbc_load")
            .count(),
        1
    );
    assert!(
        world
            .executions
            .borrow()
            .iter()
            .filter(|e| e.name.starts_with("delivery"))
            .all(|e| e.status == ExecutionStatus::Succeeded)
    );
    assert_eq!(
        world
            .clusters
            .borrow()
            .iter()
            .filter(|c| c.name.contains("jdbc_load"))
            .count(),
        1
    );
    end_state(&world);
}

#[test]
fn what_cannot_be_planned_is_a_failed_run_with_a_mail_and_no_cluster() {
    type Break = fn(&World);
    let cases: [(&str, &str, Break); 3] = [
        ("nobody", "IdentifierUnknown", |world| {
            world.items.borrow_mut().clear()
        }),
        ("jdbc_laod", "ConfigInvalid", |_| ()),
        ("jdbc_load", "ConfigInvalid", |world| {
            world.items.borrow_mut()[0]["secert"] = json!("x")
        }),
    ];
    for (pipeline, error, break_it) in cases {
        let world = world(1);
        break_it(&world);
        let id = start(&world, &manual(pipeline, "k"));
        run_for(&mut simulation(&world), HOUR);
        let run = run(&world, &id);
        assert_eq!(run.outcome, Some(Outcome::Failed), "{pipeline}");
        assert_eq!(
            run.cause.map(|cause| cause.error).as_deref(),
            Some(error),
            "{pipeline}"
        );
        assert_eq!(mails(&world).len(), 1);
        assert!(world.clusters.borrow().is_empty());
        end_state(&world);
    }
}

#[test]
fn a_configuration_that_is_not_the_generation_that_it_states_is_waited_for() {
    let edited_after_import = |world: &World| {
        let item = normal::generation_item("shop", &world.items.borrow());
        world.items.borrow_mut().push(item);
        world.items.borrow_mut()[1]["timeout_minutes"] = json!(90);
    };
    for (import_ends, outcome) in [(true, Outcome::Succeeded), (false, Outcome::Failed)] {
        let world = world(1);
        edited_after_import(&world);
        world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
        let id = start(&world, &manual("jdbc_load", "k"));
        let mut simulation = simulation(&world);
        run_for(&mut simulation, 1);
        assert_eq!(run(&world, &id).plan, None);
        if import_ends {
            world.items.borrow_mut().pop();
            let item = normal::generation_item("shop", &world.items.borrow());
            world.items.borrow_mut().push(item);
        }
        run_for(&mut simulation, 6 * HOUR);
        let run = run(&world, &id);
        assert_eq!(run.outcome, Some(outcome), "{:?}", run.cause);
        let cause = run.cause.map(|cause| cause.error);
        let expected = (!import_ends).then_some("ConfigMoving");
        assert_eq!(cause.as_deref(), expected);
        end_state(&world);
    }
}

#[test]
fn a_table_that_a_pipeline_cannot_do_is_in_the_mail_with_the_reason() {
    let world = world(2);
    if let Some(item) = world
        .items
        .borrow_mut()
        .iter_mut()
        .find(|item| item["config"] == "step::system::public.t0001")
    {
        item.as_object_mut()
            .expect("an item is an object")
            .remove("hudi_config");
    }
    start(&world, &manual("seed_hudi", "k"));
    run_for(&mut simulation(&world), 2 * HOUR);
    let mails = world.mails.borrow();
    for part in ["Not for this pipeline (1):", "public.t0001: "] {
        assert!(mails[0].body.contains(part), "{}", mails[0].body);
    }
    assert!(mails[0].subject.contains("1 step,"), "{}", mails[0].subject);
}

#[test]
fn a_faulty_table_fails_alone() {
    let world = world(3);
    world.items.borrow_mut()[5]["hudi_config"]["primary_key"] = json!("");
    let id = start(&world, &manual("jdbc_load", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    assert!(
        world.mails.borrow()[0]
            .body
            .contains("public.t0001: ConfigInvalid")
    );
    assert_eq!(world.clusters.borrow()[0].steps.len(), 2);
    end_state(&world);
}

#[test]
fn nothing_to_do_needs_no_cluster() {
    let world = world(2);
    seeded(&world, 2, world.now());
    let id = start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Succeeded));
    assert!(world.clusters.borrow().is_empty());
    let through = at_once(tasks::step::complete_through(&world, "shop"))
        .expect("at once")
        .expect("read");
    assert!(through.is_some());
    end_state(&world);
}

#[test]
fn a_dead_capture_does_not_look_like_a_quiet_database() {
    let world = world(2);
    seeded(&world, 2, world.now().plus_seconds(-31 * 60));
    let id = start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Failed));
    assert_eq!(
        run(&world, &id).cause.map(|cause| cause.error).as_deref(),
        Some("CaptureSilent")
    );
    end_state(&world);
}

#[test]
fn a_failed_run_is_counted_once_under_its_pipeline_and_nothing_else_is() {
    let world = world(2);
    seeded(&world, 2, world.now().plus_seconds(-31 * 60));
    start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), HOUR);
    let mut expected = BTreeMap::from(counted_as(MetricName::RunsFailed));
    expected.extend([
        (MetricName::CaptureSilent, vec![1.0]),
        (MetricName::TableRows, vec![0.0]),
        (MetricName::TablesFailed, vec![0.0]),
        (MetricName::ClusterMinutes, vec![0.0]),
    ]);
    let mut found = numbers(&world, Some("incremental_hudi"));
    for seconds in [MetricName::QueueSeconds, MetricName::RunSeconds] {
        assert_eq!(
            found.remove(&seconds).map_or(0, |told| told.len()),
            1,
            "{seconds}"
        );
    }
    assert_eq!(found, expected);
    let told: usize = found.values().map(Vec::len).sum();
    assert_eq!(world.metrics.borrow().len(), told + 2, "about nothing else");
}

#[test]
fn a_run_with_changes_tells_its_rows_its_cost_and_its_freshness() {
    let world = world(2);
    let heartbeat = world.now();
    seeded(&world, 2, heartbeat);
    change_file(&world, 1);
    world.advance_to(world.now().plus_seconds(60));
    let id = start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    let run = run(&world, &id);
    let found = numbers(&world, Some("incremental_hudi"));
    for (name, counted) in counted_as(MetricName::RunsSucceeded) {
        assert_eq!(found[&name], counted, "{name}");
    }
    assert_eq!(found[&MetricName::CaptureSilent], [0.0]);
    // Written a second after the beginning of the simulated time.
    assert_eq!(found[&MetricName::OldestChangeFileSeconds], [59.0]);
    assert!(found[&MetricName::TableRows][0] > 0.0);
    let (closing, ended) = (run.closing.expect("closed"), run.ended.expect("ended"));
    let admitted = run.admitted.expect("admitted");
    assert_eq!(
        found[&MetricName::RunSeconds],
        [closing.seconds_since(admitted) as f64]
    );
    let cluster = &run.clusters[0];
    let closed = cluster.closed.expect("gone");
    assert_eq!(
        found[&MetricName::ClusterMinutes],
        [closed.seconds_since(cluster.intended) as f64 / 60.0]
    );
    assert_eq!(
        found[&MetricName::FreshnessSeconds],
        [ended.seconds_since(heartbeat) as f64]
    );
    end_state(&world);
}

#[test]
fn a_table_that_was_never_seeded_fails_alone() {
    let world = world(2);
    seeded(&world, 1, world.now());
    change_file(&world, 0);
    let id = start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    assert!(
        world.mails.borrow()[0]
            .body
            .contains("public.t0001: NotSeeded")
    );
    end_state(&world);
}

#[test]
fn a_table_that_cannot_be_trusted_fails_alone_until_it_is_seeded_anew() {
    let world = world(2);
    seeded(&world, 2, world.now());
    change_file(&world, 0);
    let zones = world.deployment.zones_of("shop");
    let silver = zones.silver_table("shop_public_t0001");
    let read = at_once(tasks::position::read(&world, &silver))
        .expect("at once")
        .expect("read")
        .expect("seeded");
    let doubted = Position {
        needs_reseed: Some("rows do not add up".into()),
        ..read.value.clone()
    };
    at_once(tasks::position::write(
        &world,
        &silver,
        Some(&read),
        &doubted,
    ))
    .expect("at once")
    .expect("written");
    let id = start(&world, &manual("incremental_hudi", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    let mails = world.mails.borrow();
    for part in [
        "public.t0001: NeedsReseed",
        "rows do not add up",
        "headwater reload --identifier",
    ] {
        assert!(mails[0].body.contains(part), "{}", mails[0].body);
    }
    drop(mails);
    end_state(&world);
}

#[test]
fn cancel_ends_a_run_at_any_moment() {
    for after in [0, 30, 250, 300, 400] {
        let world = world(2);
        behave(&world, "public.t0000", 60, End::Hangs);
        let id = start(&world, &manual("jdbc_load", "k"));
        let mut simulation = simulation(&world);
        run_for(&mut simulation, after);
        let cancelled = at_once(control::cancel(&world, &id))
            .expect("at once")
            .expect("asked");
        assert_eq!(cancelled, Cancelled::Asked, "after {after} s");
        run_for(&mut simulation, 6 * HOUR);
        assert_eq!(
            run(&world, &id).outcome,
            Some(Outcome::Aborted),
            "after {after} s"
        );
        assert_eq!(mails(&world).len(), 1);
        assert_eq!(
            at_once(control::cancel(&world, &id))
                .expect("at once")
                .expect("asked"),
            Cancelled::TooLate
        );
        end_state(&world);
    }
}

#[test]
fn a_run_is_given_up_at_its_deadline() {
    let world = world(2);
    world.items.borrow_mut()[1]["timeout_minutes"] = json!(30);
    behave(&world, "public.t0000", 60, End::Hangs);
    let id = start(&world, &manual("jdbc_load", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    let run = run(&world, &id);
    assert_eq!(
        run.cause.map(|cause| cause.error).as_deref(),
        Some("DeadlineExceeded")
    );
    assert_eq!(run.status, RunStatus::Ended);
    end_state(&world);
}

#[test]
fn a_second_run_waits_for_the_first_and_a_third_merges_into_it() {
    let world = world(1);
    world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
    let ids = ["a", "b", "c"].map(|key| start(&world, &manual("jdbc_load", key)));
    run_for(&mut simulation(&world), 6 * HOUR);
    let outcomes = ids.map(|id| run(&world, &id).outcome);
    let count = |outcome| {
        outcomes
            .iter()
            .filter(|found| **found == Some(outcome))
            .count()
    };
    assert_eq!((count(Outcome::Succeeded), count(Outcome::Skipped)), (2, 1));
    end_state(&world);
}

#[test]
fn waiting_is_bounded() {
    let world = world(1);
    behave(&world, "public.t0000", 3 * HOUR, End::Succeeds { rows: 1 });
    world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
    start(&world, &manual("jdbc_load", "a"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 60);
    let second = start(&world, &manual("jdbc_load", "b"));
    run_for(&mut simulation, 9 * HOUR);
    let second = run(&world, &second);
    assert_eq!(second.outcome, Some(Outcome::Skipped));
    assert!(
        second
            .skip
            .is_some_and(|skip| skip.starts_with("QueueTimeout"))
    );
    end_state(&world);
}

#[test]
fn an_hour_in_the_queue_fits_the_history_however_often_the_first_looks_are() {
    let world = world(1);
    behave(&world, "public.t0000", 9 * HOUR, End::Succeeds { rows: 1 });
    world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
    let mut simulation = simulation(&world);
    simulation.settings.poll_seconds = 1;
    start(&world, &manual("jdbc_load", "a"));
    run_for(&mut simulation, 60);
    let second = start(&world, &manual("jdbc_load", "b"));
    run_for(&mut simulation, 2 * HOUR);
    assert_eq!(run(&world, &second).outcome, Some(Outcome::Skipped));
    run_for(&mut simulation, 18 * HOUR);
    end_state(&world);
}

#[test]
fn a_cluster_that_never_goes_away_is_watched_for_a_day_by_its_execution() {
    let world = world(1);
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    simulation.settings.poll_seconds = 1;
    run_for(&mut simulation, 250);
    world.clusters.borrow_mut()[0].stuck = true;
    run_for(&mut simulation, 24 * HOUR);
    let execution = world.executions.borrow()[0].clone();
    assert_eq!(
        (execution.name, execution.status),
        (id, ExecutionStatus::Running)
    );
}

#[test]
fn three_hundred_tables_go_in_waves_that_the_cluster_takes() {
    let world = world(300);
    world.items.borrow_mut()[1]["emr_config"] = json!({"step_parallelism": 200});
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    simulation.run_until(world.now().plus_seconds(6 * HOUR));
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Succeeded));
    let loaded = world.clusters.borrow()[0].steps.len();
    assert_eq!(loaded, 300, "every step once");
    end_state(&world);
}

#[test]
fn stop_on_failure_runs_nothing_more() {
    let world = world(4);
    world.items.borrow_mut()[1]["on_step_failure"] = json!("stop");
    behave(
        &world,
        "public.t0001",
        60,
        End::Fails {
            error: "TypeUnsupported",
        },
    );
    let id = start(&world, &manual("jdbc_load", "k"));
    run_for(&mut simulation(&world), 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    let body = world.mails.borrow()[0].body.clone();
    assert!(
        body.contains("Done (1):") && body.contains("Not run (2):"),
        "{body}"
    );
    end_state(&world);
}

#[test]
fn a_lost_cluster_is_replaced_once_and_only_what_was_not_done_runs_again() {
    let world = world(3);
    world.items.borrow_mut()[1]["next_pipeline"]["enabled"] = json!(false);
    world.items.borrow_mut()[1]["emr_config"] = json!({"step_parallelism": 3});
    behave(&world, "public.t0001", 20 * 60, End::Succeeds { rows: 1 });
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 600);
    world.clusters.borrow_mut()[0].end(ClusterState::TerminatedWithErrors, "INSTANCE_FAILURE");
    run_for(&mut simulation, 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Succeeded));
    let clusters = world.clusters.borrow();
    assert_eq!(clusters.len(), 2);
    let again: Vec<&str> = clusters[1]
        .steps
        .iter()
        .map(|step| step.request.name.as_str())
        .collect();
    assert_eq!(again, ["00001-a2-public.t0001"]);
    drop(clusters);
    end_state(&world);
}

#[test]
fn a_cluster_that_a_person_ended_is_not_replaced() {
    let world = world(2);
    behave(&world, "public.t0001", 20 * 60, End::Succeeds { rows: 1 });
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 600);
    world.clusters.borrow_mut()[0].end(ClusterState::Terminated, "USER_REQUEST");
    run_for(&mut simulation, 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Partial));
    assert_eq!(
        run(&world, &id).cause.map(|cause| cause.error).as_deref(),
        Some("ClusterLost")
    );
    assert_eq!(world.clusters.borrow().len(), 1);
    end_state(&world);
}

#[test]
fn an_aborted_execution_is_finished_by_the_sweep_wherever_it_was() {
    for after in [0, 10, 100, 250, 300, 400, 600] {
        let world = world(2);
        let id = start(&world, &manual("jdbc_load", "k"));
        let mut simulation = simulation(&world);
        run_for(&mut simulation, after);
        world.end_execution(&id, ExecutionStatus::Aborted);
        for _ in 0..4 {
            simulation.sweep().expect("swept");
            run_for(&mut simulation, 300);
        }
        if let Some(run) = runs(&world).get(&id) {
            assert_eq!(run.status, RunStatus::Ended, "after {after} s");
        }
        run_for(&mut simulation, 6 * HOUR);
        simulation.sweep().expect("swept");
        end_state(&world);
    }
}

#[test]
fn a_cluster_that_nobody_owns_is_terminated_by_the_sweep() {
    let world = world(1);
    let spec = serde_json::from_value(
        json!({"step_concurrency": 1, "idle_timeout_seconds": 604_800, "run_job_flow": null}),
    );
    let spec = spec.expect("a cluster spec");
    for name in [
        "local:shop-jdbc_load-0123456789ab-c1",
        "other:shop-jdbc_load-0123456789ab-c1",
    ] {
        at_once(tasks::port::Clusters::create_cluster(
            &world,
            name,
            &spec,
            &[],
        ))
        .expect("at once")
        .expect("made");
    }
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 300);
    let swept = simulation.sweep().expect("swept");
    assert_eq!(swept.terminated.len(), 1);
    run_for(&mut simulation, 300);
    let over: Vec<bool> = world
        .clusters
        .borrow()
        .iter()
        .map(|cluster| cluster.over())
        .collect();
    assert_eq!(
        over,
        [true, false],
        "what another stack started is left alone"
    );
    let told = [
        (MetricName::Sweeps, vec![1.0]),
        (MetricName::OrphanClusters, vec![1.0]),
        (MetricName::ConfirmedSubscriptions, vec![1.0]),
    ];
    assert_eq!(numbers(&world, None), BTreeMap::from(told));
}

#[test]
fn a_topic_that_does_not_answer_keeps_no_run_from_being_swept() {
    let world = world(2);
    world.inject(Fault {
        call: "mail.confirmed",
        occurrence: 1,
        effect: Effect::Throttled,
    });
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 10);
    world.end_execution(&id, ExecutionStatus::Aborted);
    let error = simulation.sweep().expect_err("the sweep says so");
    assert_eq!(error.name(), "Transient");
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Failed));
    let told = [
        (MetricName::Sweeps, vec![0.0]),
        (MetricName::OrphanClusters, vec![0.0]),
    ];
    assert_eq!(numbers(&world, None), BTreeMap::from(told));
}

#[test]
fn a_mail_that_was_refused_goes_out_with_the_sweep() {
    let world = world(1);
    for occurrence in 1..=20 {
        world.inject(Fault {
            call: "mail.send",
            occurrence,
            effect: Effect::Throttled,
        });
    }
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 6 * HOUR);
    assert_eq!(run(&world, &id).outcome, Some(Outcome::Succeeded));
    for _ in 0..20 {
        let _ = simulation.sweep();
    }
    assert!(
        mails(&world)
            .iter()
            .any(|subject| subject.contains("jdbc_load: SUCCEEDED"))
    );
    end_state(&world);
}

#[test]
fn a_cluster_that_does_not_terminate_keeps_its_locks_and_is_told() {
    let world = world(1);
    let id = start(&world, &manual("jdbc_load", "k"));
    let mut simulation = simulation(&world);
    run_for(&mut simulation, 250);
    world.clusters.borrow_mut()[0].stuck = true;
    run_for(&mut simulation, 2 * HOUR);
    let subjects = mails(&world);
    assert!(run(&world, &id).status == RunStatus::Closing);
    let admission = LedgerKey {
        partition: "admission".into(),
        sort: "shop".into(),
    };
    let record = at_once(world.get(&admission))
        .expect("at once")
        .expect("read")
        .expect("there");
    assert_eq!(record.body["live"][0]["run_id"], json!(id));
    for _ in 0..2 {
        simulation.sweep().expect("swept");
    }
    assert!(
        mails(&world).len() > subjects.len()
            || subjects.iter().any(|s| s.contains("does not terminate"))
    );
}

#[test]
fn the_state_is_as_small_for_ten_thousand_tables() {
    let size = |tables: usize| {
        let world = world(tables);
        let input = json!({"execution": "e", "state": manual("jdbc_load", "k")});
        let state = at_once(tasks::dispatch(&world, &settings(), "read-config", input))
            .expect("at once")
            .expect("planned");
        state.to_string().len()
    };
    assert_eq!(size(1), size(10_000));
}

/// Every port call of a whole chain, with every effect: after the sweeps nothing is left behind.
#[test]
fn no_single_fault_leaves_anything_behind() {
    let tried = faults_of(|world| {
        *world.items.borrow_mut() = items(2);
        seeded(world, 2, world.now().plus_seconds(HOUR));
        change_file(world, 1);
        start(world, &manual("jdbc_load", "k"));
    });
    assert!(tried > 1000, "{tried} faults were tried");
}
