//! What is known of a run, for a reader: the ledger's records, and how far its steps are at this moment.

use crate::context::Trouble;
use crate::place::Place;
use crate::print::{duration, many, rate};
use local::progress::StepProgress;
use pipeline::notice::Counts;
use pipeline::outcome::Outcome;
use pipeline::plan::{Frozen, PipelineKind};
use pipeline::progress::{Observed, StepAccount, StepEnd, account};
use pipeline::report::{StepFailure, StepReport, StepResult};
use pipeline::run::{Run, Work};
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tasks::error::TaskError;
use tasks::observe::recorded;
use tasks::port::Clock;
use tasks::record::{self, Versioned};
use tasks::state::read_json;
use tasks::step::{Claim, read_plan};

/// The frozen files of a run: read once, they never change.
#[derive(Default)]
pub struct Papers {
    pub frozen: Option<Frozen>,
    pub work: Option<Work>,
}

impl Papers {
    pub async fn read(&mut self, place: &Place, run: &Run) -> Result<(), TaskError> {
        if let (None, Some(file)) = (&self.frozen, &run.plan) {
            self.frozen = Some(read_plan(place, file).await?);
        }
        if let (None, Some(file)) = (&self.work, &run.work) {
            self.work = Some(read_json(place, file).await?);
        }
        Ok(())
    }
}

/// A run and its tables (or scripts) as they are now.
pub struct View {
    pub run: Run,
    pub tables: Vec<Table>,
    pub disabled: Vec<String>,
    pub now: Timestamp,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub attempt: Option<u32>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub state: TableState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableState {
    /// Its turn is to come.
    Waiting,
    Running(Option<StepProgress>),
    Succeeded(StepReport),
    Failed(StepFailure),
    NoChanges,
    /// With the reason.
    NotRun(String),
}

impl TableState {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running(_) => "running",
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::NoChanges => "no_changes",
            Self::NotRun(_) => "not_run",
        }
    }
}

impl Table {
    /// Milliseconds that it took, or has taken so far.
    pub fn milliseconds(&self, now: Timestamp) -> Option<i64> {
        let started = self.started?;
        Some(self.ended.unwrap_or(now).0 - started.0)
    }

    /// Rows so far, where it has any.
    pub fn rows(&self) -> Option<u64> {
        match &self.state {
            TableState::Succeeded(report) => Some(report.rows),
            TableState::Running(progress) => progress.as_ref().map(|progress| progress.rows),
            TableState::Waiting
            | TableState::Failed(_)
            | TableState::NoChanges
            | TableState::NotRun(_) => None,
        }
    }

    /// How it ended, in one line; `None` while it has not.
    pub fn ending(&self) -> Option<String> {
        let time = self.started.zip(self.ended);
        let time = time.map(|(started, ended)| ended.0 - started.0);
        match &self.state {
            TableState::Waiting | TableState::Running(_) => None,
            TableState::Succeeded(report) => Some(done(report, time)),
            TableState::Failed(failure) => Some(failed(failure, time)),
            TableState::NoChanges => Some("no changes".to_owned()),
            TableState::NotRun(reason) => Some(format!("not run: {reason}")),
        }
    }
}

fn done(report: &StepReport, time: Option<i64>) -> String {
    let mut text = format!("{} rows", report.rows);
    for (count, what) in [
        (report.inserted, "inserted"),
        (report.updated, "updated"),
        (report.deleted, "deleted"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(time) = time {
        text.push_str(&format!(" in {}", duration(time)));
        if let Some(rate) = rate(report.rows, time) {
            text.push_str(&format!(" ({rate} rows/s)"));
        }
    }
    text
}

fn failed(failure: &StepFailure, time: Option<i64>) -> String {
    let after = time.map_or(String::new(), |time| format!(" after {}", duration(time)));
    format!("FAILED{after}: {}: {}", failure.error, failure.message)
}

/// A run as it is now.
pub async fn view(place: &Place, run: Run, papers: &mut Papers) -> Result<View, Trouble> {
    papers.read(place, &run).await?;
    let (observed, _) = recorded(place, &run.run_id).await?;
    let claims = record::claims(place, &run.run_id).await?;
    let progress = place.progress_of(&run.run_id)?;
    Ok(View {
        tables: tables(&run, papers, &observed, &newest(&claims), progress),
        disabled: papers
            .frozen
            .as_ref()
            .map(|frozen| frozen.plan.disabled.clone())
            .unwrap_or_default(),
        now: place.now(),
        run,
    })
}

/// Steps in order of name, from what the ledger says of them.
fn tables(
    run: &Run,
    papers: &Papers,
    observed: &Observed,
    claims: &BTreeMap<u32, &Claim>,
    progress: Vec<StepProgress>,
) -> Vec<Table> {
    let (Some(frozen), None) = (&papers.frozen, &run.skip) else {
        return Vec::new();
    };
    let accounts = account(
        &frozen.plan,
        frozen.only.as_deref(),
        papers.work.as_ref(),
        observed,
        run.cause.as_ref(),
    );
    let indexes: BTreeMap<&str, u32> = (0..)
        .zip(&frozen.plan.steps)
        .map(|(index, step)| (step.name.as_str(), index))
        .collect();
    let mut progress: BTreeMap<String, StepProgress> = progress
        .into_iter()
        .map(|progress| (progress.step.clone(), progress))
        .collect();
    accounts
        .into_iter()
        .map(|account| {
            let index = indexes.get(account.name.as_str());
            let result = index.and_then(|index| observed.results.get(index));
            let claim = index.and_then(|index| claims.get(index).copied());
            let progress = progress.remove(&account.name);
            table(run, account, result, claim, progress)
        })
        .collect()
}

/// The newest attempt of each step that a worker has begun, by index: claims come in order of attempt.
fn newest(claims: &[Versioned<Claim>]) -> BTreeMap<u32, &Claim> {
    claims
        .iter()
        .map(|claim| (claim.value.index, &claim.value))
        .collect()
}

fn table(
    run: &Run,
    account: StepAccount,
    result: Option<&StepResult>,
    claim: Option<&Claim>,
    progress: Option<StepProgress>,
) -> Table {
    let runs = claim.is_some();
    let open = run.outcome.is_none();
    let state = match account.end {
        StepEnd::Succeeded(report) => TableState::Succeeded(report),
        StepEnd::Failed(failure) => TableState::Failed(failure),
        StepEnd::NoChanges => TableState::NoChanges,
        StepEnd::NotRun(_) if open && runs => TableState::Running(progress),
        StepEnd::NotRun(_) if open => TableState::Waiting,
        StepEnd::NotRun(reason) => TableState::NotRun(reason),
    };
    Table {
        name: account.name,
        attempt: result
            .map(|result| result.attempt)
            .or(claim.map(|claim| claim.attempt)),
        started: result
            .map(|result| result.started)
            .or(claim.map(|claim| claim.at)),
        // One that never told its end has ended with its run.
        ended: result
            .map(|result| result.ended)
            .or(run.ended.filter(|_| runs)),
        state,
    }
}

impl View {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            disabled: self.disabled.len() as u32,
            ..Counts::default()
        };
        for table in &self.tables {
            match &table.state {
                TableState::Succeeded(report) => {
                    counts.succeeded += 1;
                    counts.rows += report.rows;
                }
                TableState::Failed(_) => counts.failed += 1,
                TableState::NoChanges => counts.no_changes += 1,
                TableState::NotRun(_) => counts.not_run += 1,
                TableState::Waiting | TableState::Running(_) => {}
            }
        }
        counts
    }

    /// Tables that have come to their end.
    pub fn ended_tables(&self) -> usize {
        let open =
            |table: &&Table| matches!(table.state, TableState::Waiting | TableState::Running(_));
        self.tables.len() - self.tables.iter().filter(open).count()
    }

    /// What its steps are called.
    pub fn unit(&self) -> &'static str {
        match self.run.kind {
            Some(PipelineKind::Custom) => "script",
            _ => "table",
        }
    }

    pub fn milliseconds(&self) -> i64 {
        self.run.ended.unwrap_or(self.now).0 - self.run.received.0
    }

    pub fn succeeded(&self) -> bool {
        self.run.outcome == Some(Outcome::Succeeded)
    }

    /// The outcome, or how far the run is.
    pub fn state(&self) -> String {
        match self.run.outcome {
            Some(outcome) => outcome.to_string(),
            None => word(&json!(self.run.status)),
        }
    }

    /// Why the run is not what one wants, in one line.
    pub fn reason(&self) -> Option<String> {
        let cause = self.run.cause.as_ref();
        let cause = cause.map(|cause| format!("{}: {}", cause.error, cause.message));
        self.run.skip.clone().or(cause)
    }

    /// That, or the first table that failed.
    pub fn first_fault(&self) -> Option<String> {
        let failed = |table: &Table| match &table.state {
            TableState::Failed(failure) => Some(format!("{}: {}", table.name, failure.error)),
            TableState::Waiting
            | TableState::Running(_)
            | TableState::Succeeded(_)
            | TableState::NoChanges
            | TableState::NotRun(_) => None,
        };
        self.reason()
            .or_else(|| self.tables.iter().find_map(failed))
    }

    /// One line that sums up.
    pub fn summary(&self) -> String {
        let counts = self.counts();
        let mut parts = Vec::new();
        if counts.succeeded > 0 {
            parts.push(many(counts.succeeded as usize, self.unit()));
            parts.push(format!("{} rows", counts.rows));
        }
        for (count, what) in [
            (counts.failed, "failed"),
            (counts.not_run, "not run"),
            (counts.no_changes, "without changes"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if parts.is_empty() && self.succeeded() {
            parts.push("nothing to do".to_owned());
        }
        parts.push(duration(self.milliseconds()));
        let reason = match self.reason() {
            Some(reason) => format!(": {}", reason.lines().next().unwrap_or_default()),
            None => String::new(),
        };
        format!(
            "{}: {}, {}{reason}",
            self.run.run_id,
            self.state(),
            parts.join(", ")
        )
    }

    /// The run without its tables.
    pub fn head(&self) -> Value {
        let run = &self.run;
        let counts = self.counts();
        json!({
            "run_id": run.run_id,
            "identifier": run.input.identifier,
            "pipeline": run.input.pipeline,
            "trigger": {"kind": run.input.trigger.kind, "id": run.input.trigger.id},
            "root_run_id": run.root_run_id(),
            "resumes": run.input.resumes,
            "only": run.input.only,
            "status": run.status,
            "outcome": run.outcome,
            "cause": run.cause,
            "skip": run.skip,
            "received": time(Some(run.received)),
            "admitted": time(run.admitted),
            "ended": time(run.ended),
            "seconds": self.milliseconds() as f64 / 1000.0,
            "counts": counts,
        })
    }

    /// The run with its tables.
    pub fn whole(&self) -> Value {
        let mut value = self.head();
        value["tables"] = self
            .tables
            .iter()
            .map(|table| table.json(self.now))
            .collect();
        value["disabled"] = json!(self.disabled);
        value
    }
}

/// The name of a value of a closed set.
pub fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As people and programs write it.
pub fn time(moment: Option<Timestamp>) -> Value {
    moment.map_or(Value::Null, |moment| json!(moment.to_string()))
}

impl Table {
    /// One flat object; what a table has not is left out.
    fn json(&self, now: Timestamp) -> Value {
        let milliseconds = self.milliseconds(now);
        let mut value = json!({
            "name": self.name,
            "state": self.state.name(),
            "attempt": self.attempt,
            "started": time(self.started),
            "ended": time(self.ended),
            "seconds": milliseconds.map(|time| time as f64 / 1000.0),
            "rows": self.rows(),
            "rows_per_second": self.rows().zip(milliseconds).and_then(|(rows, time)| rate(rows, time)),
        });
        let more = match &self.state {
            TableState::Succeeded(report) => json!({
                "bytes": report.bytes,
                "inserted": report.inserted,
                "updated": report.updated,
                "deleted": report.deleted,
                "dropped": report.dropped,
                "rows_after": report.rows_after,
                "complete_through": time(report.complete_through),
                "nulled": report.nulled,
                "notes": report.notes,
            }),
            TableState::Failed(failure) => json!(failure),
            TableState::NotRun(reason) => json!({"reason": reason}),
            TableState::Running(Some(progress)) => {
                json!({"bytes": progress.bytes, "expected": progress.expected})
            }
            TableState::Running(None) | TableState::Waiting | TableState::NoChanges => json!({}),
        };
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        value
    }
}

/// A run by its whole id, when it has been recorded.
pub async fn recorded_run(place: &Place, run_id: &str) -> Result<Option<Run>, Trouble> {
    let run: Option<Versioned<Run>> = record::get(place, &record::run(run_id)).await?;
    Ok(run.map(|run| run.value))
}

/// All run ids, oldest first; those of one identifier when it is named.
pub async fn run_ids(place: &Place, identifier: Option<&str>) -> Result<Vec<String>, Trouble> {
    let identifiers = match identifier {
        Some(identifier) => vec![identifier.to_owned()],
        None => place.identifiers().await?,
    };
    let mut entries = Vec::new();
    for identifier in identifiers {
        let partition = record::runs_partition(&identifier);
        let listed: Vec<Versioned<String>> = record::list(place, &partition, "").await?;
        entries.extend(
            listed
                .into_iter()
                .map(|entry| (entry.key.sort, entry.value)),
        );
    }
    // The sort key begins with the time.
    entries.sort();
    Ok(entries.into_iter().map(|(_, run_id)| run_id).collect())
}

/// The run that somebody means: its id, the beginning of it or of its last part, or `last`.
pub async fn find_run(place: &Place, text: &str) -> Result<Run, Trouble> {
    if let Some(run) = recorded_run(place, text).await? {
        return Ok(run);
    }
    let all = run_ids(place, None).await?;
    let run_id = meant(&all, text)?;
    recorded_run(place, run_id)
        .await?
        .ok_or_else(|| Trouble::failed(format!("the record of run `{run_id}` is missing")))
}

fn meant<'a>(all: &'a [String], text: &str) -> Result<&'a str, Trouble> {
    let unknown = || Trouble::usage(format!("there is no run `{text}`"));
    if text == "last" {
        let last = all.last().map(String::as_str);
        return last.ok_or_else(|| Trouble::usage("there are no runs yet"));
    }
    if let Some(exact) = all.iter().find(|run_id| *run_id == text) {
        return Ok(exact);
    }
    let begins = |run_id: &&String| {
        let last = run_id.rsplit('-').next().unwrap_or_default();
        run_id.starts_with(text) || last.starts_with(text)
    };
    let found: Vec<&String> = all.iter().filter(begins).collect();
    match found.as_slice() {
        _ if text.is_empty() => Err(unknown()),
        [one] => Ok(one),
        [] => Err(unknown().hint(
            match pipeline::problem::nearest(text, all.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`headwater runs` lists them".to_owned(),
            },
        )),
        [.., last] => Err(
            Trouble::usage(format!("`{text}` may be any of {} runs", found.len()))
                .hint(format!("write more of it; the newest of them is `{last}`")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_a_part_that_only_it_has() {
        let all: Vec<String> = ["shop-load-1a2b", "shop-load-1a9c", "shop-seed-77ff"]
            .map(str::to_owned)
            .into();
        for (text, run_id) in [
            ("last", "shop-seed-77ff"),
            ("shop-load-1a2b", "shop-load-1a2b"),
            ("shop-s", "shop-seed-77ff"),
            ("1a9", "shop-load-1a9c"),
        ] {
            assert_eq!(meant(&all, text).ok(), Some(run_id), "{text}");
        }
        for (text, message) in [
            ("shop-load", "error: `shop-load` may be any of 2 runs"),
            (
                "1a",
                "hint: write more of it; the newest of them is `shop-load-1a9c`",
            ),
            ("shop-seed-77fe", "hint: did you mean `shop-seed-77ff`?"),
            ("", "error: there is no run ``"),
        ] {
            let refused = meant(&all, text).expect_err(text).to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
        assert!(meant(&[], "last").is_err());
    }
}
