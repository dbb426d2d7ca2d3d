//! Tells a person how a chain of runs goes on: bars on a terminal, lines elsewhere.

use crate::context::Trouble;
use crate::place::Place;
use crate::print::{self, many, rate, say};
use crate::view::{Papers, Table, TableState, View, view};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::admission::Admissions;
use pipeline::run::{Run, RunStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tasks::control::{self, Link};
use tasks::record::{self, Versioned};

/// Bars of tables at once: a terminal has few lines.
const BARS_MAX: usize = 12;
const SPIN_INTERVAL: Duration = Duration::from_millis(120);

/// Whether each ended run is summed up on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summaries {
    Printed,
    /// Data is written at the end, as JSON.
    Kept,
}

/// What was told of each run of a chain.
pub struct Watch<'a> {
    place: &'a Place,
    summaries: Summaries,
    /// In the order of the chain.
    told: Vec<(String, Told)>,
    bars: Option<Bars>,
}

#[derive(Default)]
struct Told {
    papers: Papers,
    lines: Lines,
    ended: Option<View>,
}

impl<'a> Watch<'a> {
    pub fn new(place: &'a Place, summaries: Summaries) -> Self {
        Self {
            place,
            summaries,
            told: Vec::new(),
            bars: print::stderr_is_terminal().then(Bars::default),
        }
    }

    /// One look at the chain that begins with this execution: tells what is new.
    pub async fn look(&mut self, execution: &str) -> Result<(), Trouble> {
        for Link { run_id, run } in control::chain(self.place, execution).await? {
            if let Some(run) = run {
                self.look_at(run_id, run).await?;
            }
        }
        Ok(())
    }

    async fn look_at(&mut self, run_id: String, run: Run) -> Result<(), Trouble> {
        let told = entry(&mut self.told, run_id);
        if told.ended.is_some() {
            return Ok(());
        }
        let behind = match run.status {
            RunStatus::Queued => ahead_of(self.place, &run).await?,
            RunStatus::Received | RunStatus::Admitted | RunStatus::Closing | RunStatus::Ended => {
                Vec::new()
            }
        };
        let seen = view(self.place, run, &mut told.papers).await?;
        for line in told.lines.fresh(self.place, &seen, &behind) {
            say(&line);
        }
        if let Some(bars) = &mut self.bars {
            bars.show(&seen);
        }
        if seen.run.status == RunStatus::Ended {
            if self.summaries == Summaries::Printed {
                print::data(&format!("{}\n", seen.summary()))?;
            }
            told.ended = Some(seen);
        }
        Ok(())
    }

    /// The runs of the chain that have ended, in order.
    pub fn ended(self) -> Vec<View> {
        self.told
            .into_iter()
            .filter_map(|(_, told)| told.ended)
            .collect()
    }
}

/// What was told of a run; nothing so far when it is new.
fn entry(told: &mut Vec<(String, Told)>, run_id: String) -> &mut Told {
    let position = told.iter().position(|(known, _)| *known == run_id);
    let position = position.unwrap_or_else(|| {
        told.push((run_id, Told::default()));
        told.len() - 1
    });
    &mut told[position].1
}

/// Runs of the identifier that are admitted, or that wait since before this one.
async fn ahead_of(place: &Place, run: &Run) -> Result<Vec<String>, Trouble> {
    let admissions: Option<Versioned<Admissions>> =
        record::get(place, &record::admission(&run.input.identifier)).await?;
    let Some(admissions) = admissions else {
        return Ok(Vec::new());
    };
    let live = admissions.value.live.iter().map(|live| &live.run_id);
    let tickets = admissions.value.tickets.iter().map(|ticket| &ticket.run_id);
    Ok(live
        .chain(tickets.take_while(|waiting| **waiting != run.run_id))
        .cloned()
        .collect())
}

/// Which lines of one run were told.
#[derive(Default)]
struct Lines {
    began: bool,
    behind: Vec<String>,
    admitted: bool,
    tables: BTreeSet<String>,
    cancel: bool,
    closing: bool,
}

impl Lines {
    /// What is new.
    fn fresh(&mut self, place: &Place, view: &View, behind: &[String]) -> Vec<String> {
        let run = &view.run;
        let name = &run.input.pipeline;
        let mut lines = Vec::new();
        if !std::mem::replace(&mut self.began, true) {
            lines.push(format!("{name}: run `{}`", run.run_id));
        }
        if !behind.is_empty() && self.behind != behind {
            lines.push(format!(
                "{name}: waits to be admitted: before it {} `{}`",
                if behind.len() == 1 {
                    "is run"
                } else {
                    "are runs"
                },
                behind.join("`, `")
            ));
            self.behind = behind.to_vec();
        }
        if run.work.is_some() && !std::mem::replace(&mut self.admitted, true) {
            lines.push(format!("{name}: {}", to_do(view)));
        }
        for table in &view.tables {
            let Some(ending) = table
                .ending()
                .filter(|_| table.started.is_some() || fails(table))
            else {
                continue;
            };
            if self.tables.insert(table.name.clone()) {
                lines.push(format!("{name}: {}: {ending}", table.name));
            }
        }
        if run.cancel.is_some() && !std::mem::replace(&mut self.cancel, true) {
            lines.push(format!("{name}: is being cancelled"));
        }
        if run.outcome.is_some() && !std::mem::replace(&mut self.closing, true) {
            lines.extend(verdict(place, view));
        }
        lines
    }
}

fn fails(table: &Table) -> bool {
    matches!(table.state, TableState::Failed(_))
}

fn to_do(view: &View) -> String {
    let counts = view.counts();
    let quiet = counts.no_changes as usize;
    let todo = view.tables.len() - quiet;
    match (todo, quiet) {
        (0, 0) => "nothing to do".to_owned(),
        (_, 0) => many(todo, view.unit()),
        _ => format!("{}, {quiet} without changes", many(todo, view.unit())),
    }
}

/// Why a run is not what one wants, and what helps.
fn verdict(place: &Place, view: &View) -> Vec<String> {
    if view.succeeded() {
        return Vec::new();
    }
    let run = &view.run;
    let mut lines = Vec::new();
    if let Some(reason) = view.reason() {
        lines.push(format!(
            "{}: {}: {reason}",
            run.input.pipeline,
            view.state()
        ));
    }
    if let Some(hint) = run.cause.as_ref().and_then(|cause| cause.hint.as_ref()) {
        lines.push(format!("hint: {hint}"));
    }
    if run.skip.is_none() {
        lines.push(format!(
            "hint: {0} show {1}; {0} logs {1}; {0} resume {1}",
            place.headwater(),
            run.run_id
        ));
    }
    lines
}

/// A bar for each table that runs, and one for its run.
#[derive(Default)]
struct Bars {
    run: Option<ProgressBar>,
    tables: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn show(&mut self, view: &View) {
        if view.run.status == RunStatus::Ended {
            self.clear();
            return;
        }
        let running: Vec<&Table> = view
            .tables
            .iter()
            .filter(|table| matches!(table.state, TableState::Running(_)))
            .collect();
        self.tables.retain(|name, bar| {
            let stays = running.iter().any(|table| table.name == *name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for table in running {
            self.show_table(table, view);
        }
        let text = format!("{}: {}", view.run.input.pipeline, stage(view));
        self.run.get_or_insert_with(run_bar).set_message(text);
    }

    fn show_table(&mut self, table: &Table, view: &View) {
        if !self.tables.contains_key(&table.name) && self.tables.len() < BARS_MAX {
            self.tables
                .insert(table.name.clone(), table_bar(&table.name));
        }
        let Some(bar) = self.tables.get(&table.name) else {
            return;
        };
        let TableState::Running(Some(progress)) = &table.state else {
            return;
        };
        if let Some(expected) = progress.expected {
            bar.set_length(expected.max(progress.rows));
        }
        bar.set_position(progress.rows);
        let rate = rate(progress.rows, view.now.0 - progress.began.0);
        bar.set_message(rate.map_or(String::new(), |rate| format!("{rate} rows/s")));
    }

    fn clear(&mut self) {
        for bar in std::mem::take(&mut self.tables)
            .into_values()
            .chain(self.run.take())
        {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How far a run is.
fn stage(view: &View) -> String {
    match view.run.status {
        RunStatus::Received => "is planned".to_owned(),
        RunStatus::Queued => "waits to be admitted".to_owned(),
        RunStatus::Admitted => format!(
            "{} of {}",
            view.ended_tables(),
            many(view.tables.len(), view.unit())
        ),
        RunStatus::Closing | RunStatus::Ended => format!("{}, ends its cluster", view.state()),
    }
}

/// A template that does not parse would show in the first run on a terminal; a plain bar is no harm.
fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn run_bar() -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}");
    let bar = print::bars().add(bar);
    bar.enable_steady_tick(SPIN_INTERVAL);
    bar
}

fn table_bar(name: &str) -> ProgressBar {
    let bar = styled(
        ProgressBar::no_length(),
        "  {prefix:30!} [{bar:30}] {human_pos} rows  {msg}",
    );
    print::bars().insert(0, bar.with_prefix(name.to_owned()))
}
