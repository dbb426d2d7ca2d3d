//! Compares every table with one snapshot of the source; those that a merge is still to reach, with a later one.
//!
//! Order matters. A position is read before the snapshot is taken, so that all it covers is in the snapshot. Capture is
//! waited for until it has written all that the snapshot shows; only then are the change files listed. If none of them is
//! left to merge, and the position is the same after silver was read, silver was the snapshot's state.

use super::columns::{self, Columns};
use super::compare::{Limits, Side, compare};
use super::progress::{Meter, Shown, say};
use super::report::{Counts, Status, TableReport};
use super::scope::Scope;
use super::silver::{Batches, SilverTable};
use super::source::{self, Snapshot, SourceTable};
use super::standing::{Changes, Reason, Standing, standing};
use super::told;
use crate::failure::Failure;
use crate::secret::Secret;
use arrow::datatypes::SchemaRef;
use local::Local;
use pipeline::path::CAPTURE_FILE;
use pipeline::plan::{CaptureKind, TableWork};
use pipeline::position::{CaptureState, Position};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tasks::port::Objects;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows are counted.
    Counts,
    /// Every value is compared.
    Deep,
}

/// Where silver is read.
pub trait Lake {
    /// The published generation of a table, as it is now.
    fn open(
        &self,
        table: &TableWork,
        position: &Position,
    ) -> impl Future<Output = Result<(SchemaRef, impl Batches), Failure>>;
}

/// Between two looks at capture, and between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Time left to wait; comparing takes none of it.
struct Patience {
    left: Duration,
    /// What was said last.
    said: String,
}

impl Patience {
    /// Waits a little; `false`: there is no time left.
    async fn pause(&mut self, what_for: &str) -> bool {
        let pause = PAUSE.min(self.left);
        if !pause.is_zero() && self.said != what_for {
            what_for.clone_into(&mut self.said);
            say(&format!("waiting: {what_for}"));
        }
        self.left -= pause;
        tokio::time::sleep(pause).await;
        !pause.is_zero()
    }
}

/// What became of a table in a round.
enum Seen {
    Report(TableReport),
    NotYet(Reason),
}

/// Every table's report, in order of name.
pub async fn run(
    scope: &Scope,
    lake: &impl Lake,
    mode: Mode,
    wait: Duration,
) -> Result<Vec<TableReport>, Failure> {
    let secret = scope.secret()?;
    let mut patience = Patience {
        left: wait,
        said: String::new(),
    };
    let mut reports = scope.faulty.clone();
    let mut tables: Vec<&(String, TableWork)> = scope.tables.iter().collect();
    while !tables.is_empty() {
        let mut again = Vec::new();
        let round = Round::begin(scope, &secret, &tables, &mut patience).await?;
        for (table, position) in tables.iter().zip(&round.positions) {
            match round.one(lake, mode, table, position.as_ref()).await? {
                Seen::Report(report) => reports.push(report),
                Seen::NotYet(reason) => again.push((*table, reason)),
            }
        }
        if let Some(((name, _), reason)) = again.first()
            && !patience.pause(&format!("{name}: {}", reason.text)).await
        {
            let given_up = again.iter().map(|((name, _), reason)| reason.of(name));
            reports.extend(given_up);
            break;
        }
        tables = again.into_iter().map(|(table, _)| table).collect();
    }
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reports)
}

impl Reason {
    fn of(&self, table: &str) -> TableReport {
        TableReport::not_comparable(table, self.text.clone(), self.hint.clone())
    }
}

/// One snapshot and what was known of the tables before it.
struct Round<'a> {
    scope: &'a Scope,
    secret: &'a Secret,
    positions: Vec<Option<Position>>,
    snapshot: Snapshot,
    changes: Changes,
}

impl<'a> Round<'a> {
    async fn begin(
        scope: &'a Scope,
        secret: &'a Secret,
        tables: &[&(String, TableWork)],
        patience: &mut Patience,
    ) -> Result<Self, Failure> {
        let mut positions = Vec::with_capacity(tables.len());
        for (_, table) in tables {
            positions.push(position(&scope.local, table).await?);
        }
        let snapshot = Snapshot::take(secret).await?;
        let changes = changes(scope, &snapshot, patience).await?;
        Ok(Self {
            scope,
            secret,
            positions,
            snapshot,
            changes,
        })
    }

    async fn one(
        &self,
        lake: &impl Lake,
        mode: Mode,
        (name, table): &(String, TableWork),
        position: Option<&Position>,
    ) -> Result<Seen, Failure> {
        let files = change_files(&self.scope.local, table).await?;
        let identifier = &self.scope.plan.identifier;
        let unknown = match standing(identifier, table, position, &self.changes, files) {
            Standing::Never(reason) => return Ok(Seen::Report(reason.of(name))),
            Standing::NotYet(reason) => return Ok(Seen::NotYet(reason)),
            Standing::Complete => None,
            Standing::Unknown(text) => Some(text),
        };
        // Without a position a table stands nowhere.
        let Some(position) = position else {
            return Ok(Seen::Report(TableReport::not_comparable(
                name,
                "it was never seeded".to_owned(),
                None,
            )));
        };
        let began = Instant::now();
        let mut report = match self.compare(lake, mode, name, table, position).await {
            Ok(report) => report,
            Err(failure) => TableReport::not_comparable(name, told(&failure), failure.hint),
        };
        report.at = Some(self.snapshot.at.clone());
        if report.status != Status::Equal {
            if self::position(&self.scope.local, table).await?.as_ref() != Some(position) {
                return Ok(Seen::NotYet(Reason {
                    text: "it was changed while it was compared".to_owned(),
                    hint: None,
                }));
            }
            if let Some(text) = unknown {
                doubt(&mut report, text);
            }
        }
        tell(&report, began.elapsed());
        Ok(Seen::Report(report))
    }

    async fn compare(
        &self,
        lake: &impl Lake,
        mode: Mode,
        name: &str,
        table: &TableWork,
        position: &Position,
    ) -> Result<TableReport, Failure> {
        let client = self.snapshot.join(self.secret).await?;
        let (schema, batches) = lake.open(table, position).await?;
        let source = columns::of_source(&client, &table.source).await?;
        let generated = columns::generated(&client, &table.source).await?;
        let columns = Columns::new(&table.source, source, &table.primary_key, &schema)?;
        let meter = Arc::new(Meter::default());
        let _shown = Shown::begin(name, &meter);
        match mode {
            Mode::Counts => {
                let rows = source::count(&client, &table.source).await?;
                let columns = columns.only_key();
                let silver = SilverTable {
                    batches,
                    columns,
                    meter,
                };
                Ok(TableReport::counts(name, rows, &count(&silver).await?))
            }
            Mode::Deep => {
                let source = Arc::new(SourceTable {
                    client,
                    table: table.source.clone(),
                    columns: columns.clone(),
                    meter: meter.clone(),
                });
                let silver = Arc::new(SilverTable {
                    batches,
                    columns: columns.clone(),
                    meter,
                });
                let found = compare(&source, &silver, Limits::USUAL).await?;
                Ok(TableReport {
                    notes: columns::left_out(&columns, &generated, &schema),
                    ..TableReport::deep(name, &columns, found)
                })
            }
        }
    }
}

/// Silver may only lack changes that nobody told of: what differs proves nothing.
fn doubt(report: &mut TableReport, text: String) {
    if report.status == Status::Different {
        report.status = Status::NotComparable;
        report.reason = Some(format!("{text}, and it is not equal"));
        report.hint =
            Some("load and seed it again while nothing is written, then compare".to_owned());
    }
}

/// Keys that are held to find repeated ones: what fits into a table of 72 MiB.
const KEYS_MAX: usize = 7 << 19;

/// Rows and different keys of silver.
async fn count(silver: &impl Side) -> Result<Counts, Failure> {
    let mut keys = HashSet::new();
    let mut rows = 0;
    let mut repeated = 0;
    let mut keys_unknown = false;
    silver
        .scan(|row| {
            rows += 1;
            let key = row.key_hash();
            if keys.len() == KEYS_MAX {
                keys_unknown = true;
            } else if !keys.insert(key) {
                repeated += 1;
            }
        })
        .await?;
    Ok(Counts {
        rows,
        keys: rows - repeated,
        keys_unknown,
    })
}

fn tell(report: &TableReport, took: Duration) {
    let (source, silver) = (
        report.rows_source.unwrap_or(0),
        report.rows_silver.unwrap_or(0),
    );
    let rows = match source == silver {
        true => format!("{source} rows"),
        false => format!("source {source}, silver {silver} rows"),
    };
    let rate = source.max(silver) as f64 / took.as_secs_f64().max(0.001);
    let status = match report.status {
        Status::Equal => "equal",
        Status::Different => "different",
        Status::NotComparable => "not comparable",
    };
    say(&format!(
        "{}: {status}, {rows}, {rate:.0} rows/s",
        report.name
    ));
}

async fn position(local: &Local, table: &TableWork) -> Result<Option<Position>, Failure> {
    let read = tasks::position::read(local, &table.silver).await;
    let read = read.map_err(|error| {
        let message = format!("the position of `{}` cannot be read", table.target_table);
        Failure::new("LedgerUnreadable", message).caused_by(&error)
    })?;
    Ok(read.map(|record| record.value))
}

/// Paths below the table's folder of change files.
async fn change_files(local: &Local, table: &TableWork) -> Result<Vec<String>, Failure> {
    let objects = local.list_objects(&table.changes).await.map_err(|error| {
        let message = format!("the change files of `{}` cannot be listed", table.source);
        Failure::new("LakeUnreadable", message).caused_by(&error)
    })?;
    let below = format!("{}/", table.changes);
    let files = objects
        .iter()
        .filter(|object| object.uri.ends_with(".parquet"))
        .filter_map(|object| object.uri.strip_prefix(&below).map(str::to_owned));
    Ok(files.collect())
}

/// Waits until capture has written all that the snapshot shows.
async fn changes(
    scope: &Scope,
    snapshot: &Snapshot,
    patience: &mut Patience,
) -> Result<Changes, Failure> {
    let source = &scope.plan.source;
    match source.capture.kind {
        CaptureKind::Headwater if source.changes_follow => {}
        CaptureKind::Dms => {
            return Ok(Changes::Unknown(
                "AWS DMS does not say which changes it has written".to_owned(),
            ));
        }
        CaptureKind::Headwater | CaptureKind::None => {
            return Ok(Changes::Unknown(
                "changes of the source after its load are not captured".to_owned(),
            ));
        }
    }
    let start = format!(
        "headwater capture start --identifier {}",
        scope.plan.identifier
    );
    loop {
        let Some(state) = capture(scope).await? else {
            return Ok(Changes::Behind(Reason {
                text: "capture has never run".to_owned(),
                hint: Some(start),
            }));
        };
        if lsn(&state.flushed_lsn) >= Some(snapshot.lsn) {
            return Ok(Changes::Written(state));
        }
        let behind = format!(
            "capture has not written all that was committed: its last sign is of {}",
            state.heartbeat
        );
        if !patience.pause(&behind).await {
            return Ok(Changes::Behind(Reason {
                text: behind,
                hint: Some(start),
            }));
        }
    }
}

async fn capture(scope: &Scope) -> Result<Option<CaptureState>, Failure> {
    let root = scope.plan.zones.changes_root(&scope.plan.source.db);
    let uri = format!("{root}/{CAPTURE_FILE}");
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "LakeUnreadable",
            "what capture says of itself cannot be read",
        )
        .caused_by(error)
    };
    let bytes = scope.local.read(&uri).await;
    let Some(bytes) = bytes.map_err(|error| unreadable(&error))? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| unreadable(&error))
}

/// Postgres's text of a place in its log: two hexadecimal halves.
fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}
