//! `discover`: what there is to do. For change-driven pipelines: is capture alive, and which tables have new files.

use crate::error::TaskError;
use crate::port::{Clock, Ledger, Metrics, Objects};
use crate::state::{Begun, Decision, State, TaskInput, begin, freeze};
use crate::{position, state::Live};
use pipeline::change_files;
use pipeline::metric;
use pipeline::path::{CAPTURE_FILE, TableName};
use pipeline::plan::{CaptureKind, Frozen, Plan, PlannedStep, StepWork, TableWork};
use pipeline::position::CaptureState;
use pipeline::run::{Cause, Work};
use pipeline::time::Timestamp;

pub async fn run(
    ports: &(impl Ledger + Objects + Metrics + Clock),
    input: &TaskInput,
) -> Result<State, TaskError> {
    let live = match begin(ports, input).await? {
        Begun::Live(live) => live,
        Begun::Over(state) => return Ok(state),
    };
    if live.run.value.work.is_some() {
        let work = live.work(ports).await?;
        return Ok(State::of(&live.run.value, decision(&work)));
    }
    let frozen = live.frozen(ports).await?;
    let work = if frozen.plan.kind.change_driven() {
        match capture_alive(ports, &live, &frozen.plan).await? {
            Ok(alive) => {
                let (work, oldest) = changed(ports, &frozen, &alive).await?;
                ports.record(&metric::of_live_capture(&live.run.value, oldest, live.now));
                work
            }
            Err(cause) => return live.fail(ports, cause).await,
        }
    } else {
        everything(&frozen)
    };
    keep(ports, *live, &frozen, work).await
}

fn decision(work: &Work) -> Decision {
    if work.steps.is_empty() {
        Decision::Close
    } else {
        Decision::Work
    }
}

async fn keep(
    ports: &(impl Ledger + Objects),
    mut live: Live,
    frozen: &Frozen,
    work: Work,
) -> Result<State, TaskError> {
    let before = live.run.clone();
    live.run.value.work = Some(freeze(ports, &frozen.plan, &frozen.run_id, "work", &work).await?);
    ports.write(&[before.replace(&live.run.value)]).await?;
    Ok(State::of(&live.run.value, decision(&work)))
}

/// Steps that the run is limited to, with their indexes.
fn wanted(frozen: &Frozen) -> impl Iterator<Item = (u32, &PlannedStep)> {
    let named = |step: &PlannedStep| {
        frozen
            .only
            .as_ref()
            .is_none_or(|only| only.contains(&step.name))
    };
    frozen
        .plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (index as u32, step))
        .filter(move |(_, step)| named(step))
}

fn everything(frozen: &Frozen) -> Work {
    Work {
        schema_version: 1,
        steps: wanted(frozen).map(|(index, _)| index).collect(),
        no_changes: Vec::new(),
        faulty: Vec::new(),
        heartbeat: None,
    }
}

/// The tables with something to merge, and when the oldest change file among them was written. The heartbeat was read before
/// the files are listed: what it covers is listed.
async fn changed(
    ports: &(impl Ledger + Objects),
    frozen: &Frozen,
    alive: &Alive,
) -> Result<(Work, Option<Timestamp>), TaskError> {
    let mut oldest: Option<Timestamp> = None;
    let mut work = Work {
        heartbeat: Some(alive.heartbeat),
        ..everything(frozen)
    };
    work.steps.clear();
    for (index, step) in wanted(frozen) {
        let Some(table) = table_work(step) else {
            work.steps.push(index);
            continue;
        };
        match table_changes(ports, table, alive.state.as_ref()).await? {
            TableChanges::Since(written) => {
                work.steps.push(index);
                oldest = [oldest, written].into_iter().flatten().min();
            }
            TableChanges::None => work.no_changes.push(step.name.clone()),
            TableChanges::Fault(cause) => work.faulty.push((step.name.clone(), cause)),
        }
    }
    Ok((work, oldest))
}

fn table_work(step: &PlannedStep) -> Option<&TableWork> {
    match &step.work {
        StepWork::Merge(table) | StepWork::Seed(table) => Some(table),
        StepWork::SparkSubmit { table, .. } => table.as_ref(),
        StepWork::Load(_) | StepWork::Program { .. } => None,
    }
}

enum TableChanges {
    /// When the oldest file with changes was written, where its name says so.
    Since(Option<Timestamp>),
    None,
    Fault(Cause),
}

async fn table_changes(
    ports: &(impl Ledger + Objects),
    table: &TableWork,
    capture: Option<&CaptureState>,
) -> Result<TableChanges, TaskError> {
    let position = position::read(ports, &table.silver)
        .await?
        .map(|read| read.value);
    let Some((position, seed)) = position
        .as_ref()
        .and_then(|position| Some((position, position.seed.as_ref()?)))
    else {
        return Ok(TableChanges::Fault(not_seeded(table)));
    };
    let broken = || capture?.broken(&table.source, position.epoch.as_deref(), &seed.t0);
    if let Some(reason) = position.needs_reseed.clone().or_else(broken) {
        return Ok(TableChanges::Fault(needs_reseed(table, &reason)));
    }
    if let Some(begun) = &position.pending {
        return Ok(TableChanges::Since(oldest(&begun.files)));
    }
    let below = format!("{}/", table.changes);
    let files = ports
        .list_objects(&table.changes)
        .await?
        .into_iter()
        .filter(|object| object.uri.ends_with(".parquet"))
        .filter_map(|object| object.uri.strip_prefix(&below).map(str::to_owned))
        .collect();
    let pending = change_files::pending(files, position);
    Ok(if pending.is_empty() {
        TableChanges::None
    } else {
        TableChanges::Since(oldest(&pending))
    })
}

fn oldest(files: &[String]) -> Option<Timestamp> {
    files
        .iter()
        .filter_map(|file| change_files::written(file))
        .min()
}

fn needs_reseed(table: &TableWork, reason: &str) -> Cause {
    Cause::new(
        "NeedsReseed",
        format!("`{}` needs re-seed: {reason}", table.target_table),
    )
    .hint(table.reload())
}

fn not_seeded(table: &TableWork) -> Cause {
    Cause::new(
        "NotSeeded",
        format!("`{}` has no seed to merge changes into", table.target_table),
    )
    .hint(table.reload())
}

/// Capture as it showed itself just now.
struct Alive {
    /// All that the source committed before this is in change files.
    heartbeat: Timestamp,
    /// Of our own capture.
    state: Option<CaptureState>,
}

/// Capture, if it was seen recently enough: a dead capture must not look like a quiet database.
async fn capture_alive(
    ports: &(impl Objects + Metrics),
    live: &Live,
    plan: &Plan,
) -> Result<Result<Alive, Cause>, TaskError> {
    let newest = match plan.source.capture.kind {
        CaptureKind::Headwater => own_capture(ports, plan).await?.map(|state| Alive {
            heartbeat: state.heartbeat,
            state: Some(state),
        }),
        CaptureKind::Dms => heartbeat_file(ports, plan).await?.map(|heartbeat| Alive {
            heartbeat,
            state: None,
        }),
        CaptureKind::None => {
            return Ok(Err(Cause::new(
                "CaptureNone",
                "`capture.kind` is `none`: there are no change files to merge",
            )
            .hint(
                "set `capture.kind` in `database::config`, or run jdbc_load and seed_hudi",
            )));
        }
    };
    let allowed = i64::from(plan.source.capture_silent_minutes) * 60;
    let message = match newest {
        Some(alive) if live.now.seconds_since(alive.heartbeat) <= allowed => return Ok(Ok(alive)),
        Some(alive) => format!("CaptureSilent since {}", alive.heartbeat),
        None => "no heartbeat of capture was ever seen".to_owned(),
    };
    ports.record(&metric::of_silent_capture(&live.run.value));
    Ok(Err(silent(message, plan)))
}

fn silent(message: String, plan: &Plan) -> Cause {
    let hint = match plan.source.capture.kind {
        CaptureKind::Headwater => {
            format!("headwater capture start --identifier {}", plan.identifier)
        }
        CaptureKind::Dms | CaptureKind::None => {
            "look at the DMS task and its replication slot".to_owned()
        }
    };
    Cause::new("CaptureSilent", message).hint(hint)
}

async fn own_capture(
    objects: &impl Objects,
    plan: &Plan,
) -> Result<Option<CaptureState>, TaskError> {
    let uri = format!(
        "{}/{CAPTURE_FILE}",
        plan.zones.changes_root(&plan.source.db)
    );
    let Some(bytes) = objects.read(&uri).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        TaskError::Corrupt(format!("the file at `{uri}` is not of its form: {error}"))
    })
}

/// The newest change file of the heartbeat table tells when DMS last wrote.
async fn heartbeat_file(
    objects: &impl Objects,
    plan: &Plan,
) -> Result<Option<Timestamp>, TaskError> {
    let table = TableName {
        schema: "headwater".to_owned(),
        table: "heartbeat".to_owned(),
    };
    let folder = plan.zones.changes(&plan.source.db, &table);
    let files = objects.list_objects(&folder).await?;
    Ok(files
        .iter()
        .filter_map(|object| change_files::written(&object.uri))
        .max())
}
