//! What a person may ask for: start, cancel, resume, reload.

use crate::error::TaskError;
use crate::finish::{family, left};
use crate::next_pipeline::following;
use crate::port::{Clock, Executions, Ledger, Objects, Started, WriteError};
use crate::record::{self, Versioned};
use crate::step::read_plan;
use pipeline::next::CHAIN_DEPTH_MAX;
use pipeline::run::{Chain, Run, RunStatus, StartInput, Trigger, TriggerKind, run_id};

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub run_id: String,
    pub execution: String,
    /// `Before` when the same key started it earlier.
    pub started: Started,
}

/// Starts an execution for this input. Its name is the run's id, so that asking twice with one key starts once.
pub async fn start(executions: &impl Executions, input: &StartInput) -> Result<Asked, TaskError> {
    let run_id = run_id(&input.identifier, &input.pipeline, &input.trigger.id);
    let json =
        serde_json::to_value(input).map_err(|error| TaskError::Corrupt(error.to_string()))?;
    let started = executions.start_execution(&run_id, &json).await?;
    Ok(Asked {
        execution: run_id.clone(),
        run_id,
        started,
    })
}

/// One run of a chain. RUN is written when its execution begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub run_id: String,
    pub run: Option<Run>,
}

/// A run and those that followed it so far, in order. A follower that was there before it belongs to another run.
pub async fn chain(ledger: &impl Ledger, first: &str) -> Result<Vec<Link>, TaskError> {
    let mut links: Vec<Link> = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(run_id) = next.filter(|_| links.len() < CHAIN_DEPTH_MAX as usize) {
        let run: Option<Versioned<Run>> = record::get(ledger, &record::run(&run_id)).await?;
        let run = run.map(|run| run.value);
        let began = links.first().and_then(|link| link.run.as_ref());
        if let (Some(began), Some(run)) = (began, &run)
            && run.received < began.received
        {
            break;
        }
        next = match &run {
            Some(run) if run.status == RunStatus::Ended => following(ledger, &run_id).await?,
            Some(_) | None => None,
        };
        links.push(Link { run_id, run });
    }
    Ok(links)
}

/// What came of asking for a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    Asked,
    /// It ends already, or has ended.
    TooLate,
}

/// Sets the flag that the next task, the worker and the sweep honour.
pub async fn cancel(ports: &(impl Ledger + Clock), run_id: &str) -> Result<Cancelled, TaskError> {
    loop {
        let run = record::get_run(ports, run_id).await?;
        let open = match run.value.status {
            RunStatus::Received | RunStatus::Queued | RunStatus::Admitted => true,
            RunStatus::Closing | RunStatus::Ended => false,
        };
        if !open {
            return Ok(Cancelled::TooLate);
        }
        if run.value.cancel.is_some() {
            return Ok(Cancelled::Asked);
        }
        let mut after = run.value.clone();
        after.cancel = Some(ports.now());
        match ports.write(&[run.replace(&after)]).await {
            Ok(()) => return Ok(Cancelled::Asked),
            Err(WriteError::Conflict(_)) => continue,
            Err(WriteError::Port(error)) => return Err(error.into()),
        }
    }
}

/// Why a run cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoResume {
    #[error("run `{0}` has not ended")]
    NotEnded(String),
    #[error("every step of run `{0}` has succeeded")]
    NothingLeft(String),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// The start input that resumes a run: its steps without a success, planned anew. Numbered, so that each resume is its
/// own run. A resume of a resume belongs to the same family.
pub async fn resume(ports: &(impl Ledger + Objects), run_id: &str) -> Result<StartInput, NoResume> {
    let asked = record::get_run(ports, run_id).await?.value;
    let root = match &asked.input.resumes {
        Some(root) => record::get_run(ports, root).await?.value,
        None => asked,
    };
    if root.status != RunStatus::Ended {
        return Err(NoResume::NotEnded(root.run_id));
    }
    let only = unfinished(ports, &root).await?;
    loop {
        let resumes: Vec<Versioned<String>> =
            record::list_of_run(ports, &root.run_id, record::RESUME_PREFIX)
                .await
                .map_err(NoResume::Task)?;
        if let Some(last) = resumes.last() {
            let last: Option<Versioned<Run>> =
                record::get(ports, &record::run(&last.value)).await?;
            if let Some(last) = last.filter(|last| last.value.status != RunStatus::Ended) {
                return Err(NoResume::NotEnded(last.value.run_id));
            }
        }
        let number = resumes.len() as u32 + 1;
        let input = resume_input(&root, number, only.clone());
        let id = pipeline::run::run_id(&input.identifier, &input.pipeline, &input.trigger.id);
        match ports
            .write(&[record::create(record::resume(&root.run_id, number), &id)])
            .await
        {
            Ok(()) => return Ok(input),
            Err(WriteError::Conflict(_)) => continue,
            Err(WriteError::Port(error)) => return Err(TaskError::from(error).into()),
        }
    }
}

/// Names without a success in the family, by its first plan; `None` when it never had one: then all of them.
async fn unfinished(
    ports: &(impl Ledger + Objects),
    root: &Run,
) -> Result<Option<Vec<String>>, NoResume> {
    let family = family(ports, &root.run_id).await?;
    let Some(file) = family.iter().find_map(|run| run.plan.as_ref()) else {
        return Ok(root.input.only.clone());
    };
    let frozen = read_plan(ports, file).await?;
    let left = left(ports, &root.run_id, &frozen.plan).await?;
    if left.is_empty() {
        Err(NoResume::NothingLeft(root.run_id.clone()))
    } else {
        Ok(Some(left))
    }
}

fn resume_input(root: &Run, number: u32, only: Option<Vec<String>>) -> StartInput {
    StartInput {
        identifier: root.input.identifier.clone(),
        pipeline: root.input.pipeline.clone(),
        trigger: Trigger {
            kind: TriggerKind::Resume,
            id: format!("resume:{}:{number}", root.run_id),
            due: None,
            interval_minutes: None,
        },
        root_run_id: Some(root.root_run_id().to_owned()),
        resumes: Some(root.run_id.clone()),
        depth: root.input.depth,
        only,
        chain: root.input.chain,
        engine: root.input.engine,
    }
}

/// The start input of load, seed and merge of these tables as one chain.
pub fn reload(identifier: &str, tables: Vec<String>, key: &str) -> StartInput {
    StartInput {
        identifier: identifier.to_owned(),
        pipeline: "jdbc_load".to_owned(),
        trigger: Trigger {
            kind: TriggerKind::Manual,
            id: key.to_owned(),
            due: None,
            interval_minutes: None,
        },
        root_run_id: None,
        resumes: None,
        depth: 0,
        only: Some(tables),
        chain: Chain::Reload,
        engine: None,
    }
}
