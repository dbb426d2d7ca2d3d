//! The one e-mail of a run: whether it is wanted, and what it says.

use crate::outcome::Outcome;
use crate::plan::{NotApplicable, Notify};
use crate::progress::{StepAccount, StepEnd};
use crate::report::StepReport;
use crate::run::Run;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// SNS takes subjects of under 100 characters.
pub const SUBJECT_CHARACTERS_MAX: usize = 99;
/// Tables named in each section; the rest is counted. Keeps 10,000 tables inside an SNS message and a ledger item.
const TABLES_NAMED_MAX: usize = 40;
/// Root-cause lines per failed table.
const CAUSE_LINES_MAX: usize = 5;
const LINE_CHARACTERS_MAX: usize = 300;
/// So many skipped runs of one pipeline in a row are worth an e-mail.
pub const SKIPS_IN_A_ROW_NOTICED: u32 = 3;

/// A notice as it is kept until it is sent, always with the same id and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    pub id: String,
    pub subject: String,
    pub body: String,
}

/// Steps by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub succeeded: u32,
    pub failed: u32,
    pub no_changes: u32,
    pub not_run: u32,
    pub disabled: u32,
    pub rows: u64,
}

impl Counts {
    pub fn of(accounts: &[StepAccount], disabled: usize) -> Self {
        let mut counts = Self {
            disabled: disabled as u32,
            ..Self::default()
        };
        for account in accounts {
            match &account.end {
                StepEnd::Succeeded(report) => {
                    counts.succeeded += 1;
                    counts.rows += report.rows;
                }
                StepEnd::Failed(_) => counts.failed += 1,
                StepEnd::NoChanges => counts.no_changes += 1,
                StepEnd::NotRun(_) => counts.not_run += 1,
            }
        }
        counts
    }
}

/// The outcome from how the steps ended, and from what stopped the run as a whole.
pub fn outcome(run: &Run, counts: &Counts) -> Outcome {
    if run.skip.is_some() {
        return Outcome::Skipped;
    }
    if run.cancel.is_some() {
        return Outcome::Aborted;
    }
    let well = counts.succeeded + counts.no_changes;
    let badly = counts.failed + counts.not_run;
    match (badly > 0 || run.cause.is_some(), well > 0) {
        (false, _) => Outcome::Succeeded,
        // A run that was stopped as a whole before any table was done failed, even where some had nothing to do.
        (true, true) if run.cause.is_none() || counts.succeeded > 0 => Outcome::Partial,
        (true, _) => Outcome::Failed,
    }
}

/// Whether this run's notice is wanted. A run that failed before its policy was known is always told.
pub fn wanted(
    policy: Option<Notify>,
    outcome: Outcome,
    rows: u64,
    skips_in_a_row: u32,
    timed_out_waiting: bool,
) -> bool {
    match (policy.unwrap_or(Notify::Failures), outcome) {
        (Notify::All, _) => true,
        (_, Outcome::Skipped) => timed_out_waiting || skips_in_a_row == SKIPS_IN_A_ROW_NOTICED,
        (Notify::Changes, Outcome::Succeeded) => rows > 0,
        (Notify::Failures, Outcome::Succeeded) => false,
        (_, Outcome::Partial | Outcome::Failed | Outcome::Aborted) => true,
    }
}

/// Everything that the notice tells.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    pub run: &'a Run,
    pub outcome: Outcome,
    pub counts: &'a Counts,
    pub accounts: &'a [StepAccount],
    pub disabled: &'a [String],
    pub not_applicable: &'a [NotApplicable],
    pub next: Option<&'a str>,
    pub now: Timestamp,
}

/// The notice of a run's end.
pub fn notice(told: &Told<'_>) -> Notice {
    Notice {
        id: format!("{}-end", told.run.run_id),
        subject: subject(told),
        body: body(told),
    }
}

/// A second notice: the cluster does not go away.
pub fn stuck_cluster(run: &Run, cluster_id: &str, minutes: i64) -> Notice {
    let input = &run.input;
    Notice {
        id: format!("{}-stuck", run.run_id),
        subject: clean_subject(&format!(
            "[headwater] {} {}: cluster does not terminate",
            input.identifier, input.pipeline
        )),
        body: format!(
            "Run `{}` has ended, but its cluster `{cluster_id}` was told to terminate {minutes} minutes ago and has not.\n\
             Its tables stay locked, because it may still write.\n\
             hint: look whether termination protection is on; the sweep goes on trying\n",
            run.run_id
        ),
    }
}

fn subject(told: &Told<'_>) -> String {
    let input = &told.run.input;
    let counts = told.counts;
    let all = counts.succeeded + counts.failed + counts.no_changes + counts.not_run;
    let detail = match told.outcome {
        Outcome::Succeeded if counts.succeeded == 0 => " (nothing to do)".to_owned(),
        Outcome::Succeeded => format!(" ({}, {} rows)", steps(counts.succeeded), counts.rows),
        Outcome::Partial => unsuccessful(counts, all),
        Outcome::Failed | Outcome::Aborted => match &told.run.cause {
            Some(cause) => format!(" ({})", cause.error),
            None => unsuccessful(counts, all),
        },
        Outcome::Skipped => String::new(),
    };
    clean_subject(&format!(
        "[headwater] {} {}: {}{detail}",
        input.identifier, input.pipeline, told.outcome
    ))
}

fn unsuccessful(counts: &Counts, all: u32) -> String {
    format!(
        " ({} of {} failed)",
        counts.failed + counts.not_run,
        steps(all)
    )
}

fn steps(count: u32) -> String {
    match count {
        1 => "1 step".to_owned(),
        _ => format!("{count} steps"),
    }
}

/// Printable ASCII on one line, cut to what SNS takes.
fn clean_subject(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .take(SUBJECT_CHARACTERS_MAX)
        .collect()
}

fn body(told: &Told<'_>) -> String {
    let run = told.run;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    line(format!("outcome:    {}", told.outcome));
    line(format!("identifier: {}", run.input.identifier));
    line(format!("pipeline:   {}", run.input.pipeline));
    line(format!("run:        {}", run.run_id));
    line(format!("received:   {}", run.received));
    line(format!(
        "closed:     {} ({} s)",
        told.now,
        told.now.seconds_since(run.received)
    ));
    if let Some(cause) = &run.cause {
        line(format!("cause:      {}: {}", cause.error, cause.message));
        if let Some(hint) = &cause.hint {
            line(format!("hint:       {hint}"));
        }
    }
    if let Some(skip) = &run.skip {
        line(format!("skipped:    {skip}"));
    }
    if let Some(next) = told.next {
        line(format!("next:       {next}"));
    }
    section(&mut line, "Failed", told.accounts, |end| match end {
        StepEnd::Failed(failure) => {
            let mut words = vec![format!("{}: {}", failure.error, failure.message)];
            words.extend(failure.hint.iter().map(|hint| format!("hint: {hint}")));
            words.extend(failure.root_cause.iter().take(CAUSE_LINES_MAX).cloned());
            Some(words)
        }
        StepEnd::Succeeded(_) | StepEnd::NoChanges | StepEnd::NotRun(_) => None,
    });
    section(&mut line, "Not run", told.accounts, |end| match end {
        StepEnd::NotRun(reason) => Some(vec![reason.clone()]),
        StepEnd::Succeeded(_) | StepEnd::NoChanges | StepEnd::Failed(_) => None,
    });
    section(&mut line, "Done", told.accounts, |end| match end {
        StepEnd::Succeeded(report) => Some(done(report)),
        StepEnd::Failed(_) | StepEnd::NoChanges | StepEnd::NotRun(_) => None,
    });
    section(&mut line, "No changes", told.accounts, |end| match end {
        StepEnd::NoChanges => Some(Vec::new()),
        StepEnd::Succeeded(_) | StepEnd::Failed(_) | StepEnd::NotRun(_) => None,
    });
    let other: Vec<String> = told
        .not_applicable
        .iter()
        .map(|other| format!("{}: {}", other.name, other.reason))
        .collect();
    names(&mut line, "Not for this pipeline", &other);
    names(&mut line, "Disabled", told.disabled);
    // One command a line: a mail program does not break it.
    let commands: &[&str] = match told.outcome {
        Outcome::Succeeded => &[],
        Outcome::Skipped => &["show"],
        Outcome::Partial | Outcome::Failed | Outcome::Aborted => &["show", "logs", "resume"],
    };
    if !commands.is_empty() {
        line("\nWhat to type next:".to_owned());
    }
    for command in commands {
        line(format!("  headwater {command} {}", run.run_id));
    }
    text
}

fn done(report: &StepReport) -> Vec<String> {
    let mut words = format!("{} rows", report.rows);
    for (count, what) in [
        (report.inserted, "inserted"),
        (report.updated, "updated"),
        (report.deleted, "deleted"),
        (report.dropped, "dropped as known"),
    ] {
        if count > 0 {
            let _ = write!(words, ", {count} {what}");
        }
    }
    let nulled = report
        .nulled
        .iter()
        .map(|(column, count)| format!("`{column}`: {count} NaN or infinite values became NULL"));
    std::iter::once(words)
        .chain(nulled)
        .chain(report.notes.iter().cloned())
        .collect()
}

fn names(line: &mut impl FnMut(String), title: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    line(format!("\n{title} ({}):", names.len()));
    for name in names.iter().take(TABLES_NAMED_MAX) {
        line(format!("  {name}"));
    }
    if names.len() > TABLES_NAMED_MAX {
        line(format!("  and {} more", names.len() - TABLES_NAMED_MAX));
    }
}

fn section(
    line: &mut impl FnMut(String),
    title: &str,
    accounts: &[StepAccount],
    words: impl Fn(&StepEnd) -> Option<Vec<String>>,
) {
    let chosen: Vec<_> = accounts
        .iter()
        .filter_map(|account| Some((account, words(&account.end)?)))
        .collect();
    if chosen.is_empty() {
        return;
    }
    line(format!("\n{title} ({}):", chosen.len()));
    for (account, words) in chosen.iter().take(TABLES_NAMED_MAX) {
        let mut words = words
            .iter()
            .map(|text| text.chars().take(LINE_CHARACTERS_MAX).collect::<String>());
        match words.next() {
            Some(first) => line(format!("  {}: {first}", account.name)),
            None => line(format!("  {}", account.name)),
        }
        for more in words {
            line(format!("      {more}"));
        }
    }
    if chosen.len() > TABLES_NAMED_MAX {
        line(format!("  and {} more", chosen.len() - TABLES_NAMED_MAX));
    }
}
