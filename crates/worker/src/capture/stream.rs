//! One connection to the source: changes as they come, flush by flush.
//!
//! At a flush: change files, then the state file, then the slot. What is in files is always what one position of the stream says:
//! the flush is at the end of a transaction, and files of an unfinished one stay invisible.

use super::buffer::{Before, Buffer, Op, Uncarried};
use super::files::Files;
use super::numbers::Numbers;
use super::relation::{self, Relation};
use super::setting::Setting;
use super::slot::{self, stream_failed};
use super::{state, tables};
use crate::failure::Failure;
use crate::source::connect;
use futures::FutureExt;
use pg_walstream::protocol::{
    LogicalReplicationMessage as Message, LogicalReplicationParser, TupleData,
};
use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};
use pipeline::path::TableName;
use pipeline::position::{CaptureState, NeedsReseed};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::Client;

/// When changes go into files.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many bytes of changes are held at most, of one transaction too.
    pub bytes: usize,
    /// A change waits no longer than this.
    pub interval: Duration,
    pub beat: Duration,
}

/// What a capture has done since its process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub changes: u64,
    pub files: u64,
    pub flushes: u64,
    /// The most bytes of changes that were held.
    pub held_max: usize,
}

/// Who is told how far the work is.
pub trait Watch {
    /// The work is at this point; a failure ends it there and then.
    fn point(&self, name: &'static str) -> Result<(), Failure>;
    fn streaming(&self);
    fn warn(&self, line: &str);
}

/// A transaction that ended may take so long to arrive after capture was told to stop.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// The source is told the last position within this.
const TELL_WAIT: Duration = Duration::from_secs(5);
/// Messages between two looks at clocks and signals.
const AT_ONCE_MAX: usize = 256;
/// What a change takes beside its values.
const CHANGE_BYTES: usize = 48;
/// Microseconds from 1970 to 2000, where Postgres begins to count.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Follows the source until told to stop, or until it fails.
pub async fn follow(
    setting: &Setting,
    limits: Limits,
    watch: &impl Watch,
    stop: &mut watch::Receiver<bool>,
    totals: &mut Totals,
) -> Result<(), Failure> {
    let secret = setting.secret()?;
    let client = connect(&secret).await?;
    let state = resumed(setting, &client, watch).await?;
    let flushed = state::flushed(&state)?;
    let mut replication = slot::stream(&secret, setting, flushed).await?;
    let counting = slot::keep_counting(secret, setting.slot.clone(), limits.beat);
    let mut counting = Counting(tokio::spawn(counting));
    watch.streaming();
    let mut stream = Stream {
        setting: setting.clone(),
        limits,
        watch,
        client,
        parser: LogicalReplicationParser::with_protocol_version(1),
        relations: HashMap::new(),
        files: Files::new(),
        numbers: Numbers::after(&state.last_seq),
        state,
        held: 0,
        transaction: None,
        done: None,
        marks: HashMap::new(),
        totals,
    };
    loop {
        let due = stream.due();
        tokio::select! {
            biased;
            () = told(stop) => return stream.end(replication).await,
            failure = &mut counting.0 => return Err(counting_failed(failure)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => stream.flush(&replication).await?,
            event = replication.recv() => stream.event(event, &replication).await?,
        }
        // What has arrived already needs no look at clocks and signals in between.
        for _ in 0..AT_ONCE_MAX {
            let Some(event) = replication.recv().now_or_never() else {
                break;
            };
            stream.event(event, &replication).await?;
        }
    }
}

/// Waits until capture is told to stop.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    // Nobody left to tell it is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends with the stream.
struct Counting(JoinHandle<Failure>);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn counting_failed(failure: Result<Failure, tokio::task::JoinError>) -> Failure {
    failure.unwrap_or_else(|error| {
        Failure::new("HeartbeatFailed", "the heartbeat ended").caused_by(&error)
    })
}

/// The state from which to go on, written down with the tables of now. A new epoch is told loudly.
async fn resumed(
    setting: &Setting,
    client: &Client,
    watch: &impl Watch,
) -> Result<CaptureState, Failure> {
    let seen = slot::seen(client, setting).await?;
    let published = slot::published(client, &setting.slot).await?;
    let known = state::read(setting)?;
    let broken = known
        .as_ref()
        .map(|known| state::broken(known, &seen))
        .transpose()?
        .flatten();
    let mut state = match (known, broken) {
        (Some(known), None) => known,
        (None, _) => state::begin(&seen, &published.places),
        (Some(known), Some(reason)) => {
            watch.warn(&format!(
                "capture begins anew, because {reason}: changes after {} may be missing, and every table needs a new load and seed",
                known.heartbeat
            ));
            state::begin(&seen, &published.places)
        }
    };
    tables::refresh(
        &mut state,
        &published,
        &setting.tables,
        &setting.command("start"),
    );
    state::write(setting, &state)?;
    Ok(state)
}

struct Stream<'a, W> {
    /// With the items of when they were last read.
    setting: Setting,
    limits: Limits,
    watch: &'a W,
    /// For the catalogue.
    client: Client,
    parser: LogicalReplicationParser,
    relations: HashMap<u32, Relation>,
    files: Files,
    numbers: Numbers,
    /// As it is written down.
    state: CaptureState,
    /// Bytes in buffers.
    held: usize,
    /// The one that is arriving.
    transaction: Option<Transaction>,
    /// What has arrived whole and is not in files.
    done: Option<Done>,
    /// Tables that lost a change since the last flush.
    marks: HashMap<TableName, NeedsReseed>,
    totals: &'a mut Totals,
}

struct Transaction {
    committed: Timestamp,
    beat: Option<relation::Counted>,
}

struct Done {
    since: Instant,
    until: Lsn,
    heartbeat: Option<(Timestamp, u64)>,
    last_seq: ChangeSeq,
    /// Somebody waits for it, and may have changed the items.
    asked: bool,
    /// The source waits for it: a server that shuts down does.
    waited_for: bool,
}

impl<W: Watch> Stream<'_, W> {
    /// When a flush is due; never within a transaction. A beat with no change before it costs no file.
    fn due(&self) -> Option<Instant> {
        let done = self.done.as_ref().filter(|_| self.transaction.is_none())?;
        let quiet = done.heartbeat.is_some() && self.held == 0 && self.files.are_none();
        Some(
            if done.asked || done.waited_for || quiet || self.held >= self.limits.bytes {
                done.since
            } else {
                done.since + self.limits.interval
            },
        )
    }

    async fn event(
        &mut self,
        event: Result<Option<ReplicationEvent>, pgwire_replication::PgWireError>,
        replication: &ReplicationClient,
    ) -> Result<(), Failure> {
        let event = event.map_err(|error| stream_failed(&self.setting, &error))?;
        match event {
            Some(ReplicationEvent::Begin {
                commit_time_micros, ..
            }) => {
                let committed = moment(commit_time_micros);
                self.numbers.begin(committed);
                self.transaction = Some(Transaction {
                    committed,
                    beat: None,
                });
            }
            Some(ReplicationEvent::XLogData { data, .. }) => {
                let bytes = data.len() + CHANGE_BYTES;
                let parsed = self.parser.parse_wal_message_bytes(data).map_err(|error| {
                    Failure::new("StreamFailed", "a message of the source cannot be read")
                        .caused_by(&error)
                })?;
                self.message(parsed.message, bytes).await?;
            }
            Some(ReplicationEvent::Commit { end_lsn, .. }) => {
                self.committed(end_lsn);
                if self.due().is_some_and(|due| due <= Instant::now()) {
                    self.flush(replication).await?;
                }
            }
            Some(ReplicationEvent::KeepAlive {
                wal_end,
                reply_requested: true,
                ..
            }) => self.waited_for(wal_end),
            Some(_) => {}
            None => {
                return Err(Failure::new(
                    "SourceUnreachable",
                    "the source ended the stream of changes",
                ));
            }
        }
        Ok(())
    }

    async fn message(&mut self, message: Message, bytes: usize) -> Result<(), Failure> {
        match message {
            Message::Relation {
                relation_id,
                namespace,
                relation_name,
                replica_identity,
                columns,
            } => {
                let table = TableName {
                    schema: namespace.to_string(),
                    table: relation_name.to_string(),
                };
                if self.setting.wanted(&table).is_none() {
                    self.read_items();
                }
                let relation = relation::read(
                    &self.client,
                    &self.setting,
                    table,
                    replica_identity,
                    &columns,
                )
                .await?;
                self.described(relation_id, relation)
            }
            Message::Insert { relation_id, tuple } => {
                self.change(relation_id, bytes, &[(Op::Insert, &tuple)], Before::Nothing)
            }
            Message::Update {
                relation_id,
                old_tuple,
                new_tuple,
                key_type,
            } => self.update(relation_id, bytes, old_tuple.as_ref(), &new_tuple, key_type),
            Message::Delete {
                relation_id,
                old_tuple,
                ..
            } => self.change(
                relation_id,
                bytes,
                &[(Op::Delete, &old_tuple)],
                Before::Nothing,
            ),
            Message::Truncate { relation_ids, .. } => {
                for id in relation_ids {
                    self.truncated(id);
                }
                Ok(())
            }
            // Types and origins say nothing that matters here; two-phase and streaming are not asked for.
            _ => Ok(()),
        }
    }

    /// A table, for the first time or anew: changes of another shape, or of another table of that name, go into files of their own.
    fn described(&mut self, id: u32, relation: Relation) -> Result<(), Failure> {
        let name = match &relation {
            Relation::Followed(buffer) => {
                if let Some(Relation::Followed(known)) = self.relations.get(&id)
                    && known.shape == buffer.shape
                {
                    return Ok(());
                }
                Some(buffer.shape.table.clone())
            }
            Relation::Refused { table, .. } => Some(table.clone()),
            Relation::Heartbeat(_) => None,
        };
        let stale: Vec<u32> = self
            .relations
            .iter()
            .filter(|(known, relation)| {
                **known == id || relation_name(relation) == name.as_ref() && name.is_some()
            })
            .map(|(known, _)| *known)
            .collect();
        for known in stale {
            self.write(known)?;
            self.relations.remove(&known);
        }
        self.relations.insert(id, relation);
        Ok(())
    }

    fn update(
        &mut self,
        id: u32,
        bytes: usize,
        old: Option<&TupleData>,
        new: &TupleData,
        key_type: Option<char>,
    ) -> Result<(), Failure> {
        let before = match (old, key_type) {
            (Some(old), Some('O')) => Before::Whole(old),
            (Some(old), _) => Before::Key(old),
            (None, _) => Before::Nothing,
        };
        let moved = match (self.relations.get(&id), old) {
            (Some(Relation::Followed(buffer)), Some(old)) if buffer.moves(new, before) => Some(old),
            _ => None,
        };
        match (moved, old) {
            (Some(old), _) => {
                self.change(id, bytes, &[(Op::Delete, old), (Op::Insert, new)], before)
            }
            (None, None) => self.change(id, bytes, &[(Op::Update, new)], before),
            (None, Some(_)) => {
                // What a key is comes from the configuration too; numbers do not.
                self.numbers.next();
                self.change(id, bytes, &[(Op::Update, new)], before)
            }
        }
    }

    /// Numbers are given whether or not the change can be carried: they depend on the stream alone.
    fn change(
        &mut self,
        id: u32,
        bytes: usize,
        rows: &[(Op, &TupleData)],
        before: Before<'_>,
    ) -> Result<(), Failure> {
        self.totals.changes += rows.len() as u64;
        let failed = match self.relations.get_mut(&id) {
            Some(Relation::Followed(buffer)) => {
                buffer.bytes += bytes;
                self.held += bytes;
                carry(buffer, &mut self.numbers, rows, before)
            }
            Some(Relation::Heartbeat(columns)) => {
                for (_, row) in rows {
                    self.numbers.next();
                    if let (Some(transaction), Some(counted)) = (
                        &mut self.transaction,
                        columns.counted(row, &self.setting.slot),
                    ) {
                        transaction.beat = Some(counted);
                    }
                }
                None
            }
            Some(Relation::Refused { table, reason }) => {
                rows.iter().for_each(|_| {
                    self.numbers.next();
                });
                Some((table.clone(), reason.clone(), Gone::Nothing))
            }
            None => {
                return Err(Failure::new(
                    "StreamFailed",
                    format!("the source sent a change of a table that it did not describe: {id}"),
                ));
            }
        };
        if let Some((table, reason, gone)) = failed {
            if gone == Gone::Buffer {
                self.drop_buffer(id);
            }
            self.mark(table, reason);
        }
        self.totals.held_max = self.totals.held_max.max(self.held);
        if self.held >= self.limits.bytes {
            self.spill()?;
        }
        Ok(())
    }

    fn drop_buffer(&mut self, id: u32) {
        if let Some(Relation::Followed(buffer)) = self.relations.get_mut(&id) {
            self.held -= buffer.bytes;
            *buffer = Buffer::new(buffer.shape.clone());
        }
    }

    fn truncated(&mut self, id: u32) {
        self.numbers.next();
        if let Some(name) = self.relations.get(&id).and_then(relation_name) {
            self.mark(name.clone(), "it was truncated".to_owned());
        }
    }

    /// The table needs a new seed that is later than the number given last.
    fn mark(&mut self, table: TableName, reason: String) {
        let at = self.numbers.last();
        self.marks.insert(table, NeedsReseed { reason, at });
    }

    /// The largest buffers go into files that nobody sees yet, until half of what may be held is free.
    fn spill(&mut self) -> Result<(), Failure> {
        while self.held > self.limits.bytes / 2 {
            let largest = self
                .relations
                .iter()
                .filter_map(|(id, relation)| match relation {
                    Relation::Followed(buffer) => Some((buffer.bytes, *id)),
                    _ => None,
                });
            let Some((_, id)) = largest.max() else {
                return Ok(());
            };
            self.write(id)?;
        }
        Ok(())
    }

    /// Writes what is held of a table.
    fn write(&mut self, id: u32) -> Result<(), Failure> {
        let Some(Relation::Followed(buffer)) = self.relations.get_mut(&id) else {
            return Ok(());
        };
        self.held -= buffer.bytes;
        buffer.bytes = 0;
        if buffer.rows() == 0 {
            return Ok(());
        }
        let (batch, nulled) = buffer.take()?;
        let table = &buffer.shape.table;
        for (column, count) in nulled {
            let line = format!(
                "`{table}`: {count} values of `{column}` became NULL, which the lake's type cannot hold"
            );
            self.watch.warn(&line);
        }
        self.files
            .write(&self.setting, table, &batch, self.numbers.moment())
    }

    /// Between transactions, all that the stream has passed is done with.
    fn waited_for(&mut self, until: Lsn) {
        if self.transaction.is_none() {
            self.done_until(until).waited_for = true;
        }
    }

    fn done_until(&mut self, until: Lsn) -> &mut Done {
        let last_seq = self.numbers.last();
        let done = self.done.get_or_insert_with(|| Done {
            since: Instant::now(),
            until,
            heartbeat: None,
            last_seq: last_seq.clone(),
            asked: false,
            waited_for: false,
        });
        done.until = done.until.max(until);
        done.last_seq = last_seq;
        done
    }

    fn committed(&mut self, until: Lsn) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let done = self.done_until(until);
        if let Some(beat) = transaction.beat {
            done.heartbeat = Some((transaction.committed, beat.beat));
            done.asked |= beat.flush;
        }
    }

    /// All that has arrived whole goes into files; then the state says so; then the source is told.
    async fn flush(&mut self, replication: &ReplicationClient) -> Result<(), Failure> {
        let Some(done) = self.done.take() else {
            return Ok(());
        };
        self.watch.point("capture.before.files")?;
        let ids: Vec<u32> = self.relations.keys().copied().collect();
        for id in ids {
            self.write(id)?;
        }
        self.tell_marks()?;
        let watch = self.watch;
        let between = || watch.point("capture.between.files");
        self.totals.files += self.files.publish(now(), between)? as u64;
        self.watch.point("capture.after.files")?;
        if let Some((heartbeat, beat)) = done.heartbeat {
            self.state.heartbeat = heartbeat.max(self.state.heartbeat);
            self.state.identity.beat = beat;
            if done.asked {
                self.read_items();
            }
            self.refresh().await?;
        }
        self.state.flushed_lsn = done.until.to_string();
        self.state.last_seq = done.last_seq;
        state::write(&self.setting, &self.state)?;
        self.watch.point("capture.after.state")?;
        replication.update_applied_lsn(done.until);
        self.totals.flushes += 1;
        self.watch.point("capture.after.slot")
    }

    /// A lost change is told before any file that lacks it can be seen.
    fn tell_marks(&mut self) -> Result<(), Failure> {
        if self.marks.is_empty() {
            return Ok(());
        }
        for (table, mark) in self.marks.drain() {
            let name = table.to_string();
            if self
                .state
                .needs_reseed
                .get(&name)
                .is_none_or(|known| known.reason != mark.reason)
            {
                self.watch.warn(&format!(
                    "`{name}` needs a new load and seed: {}",
                    mark.reason
                ));
            }
            self.state.needs_reseed.insert(name, mark);
        }
        state::write(&self.setting, &self.state)
    }

    /// What the heartbeat covers is told only of tables that are published still.
    async fn refresh(&mut self) -> Result<(), Failure> {
        let published = slot::published(&self.client, &self.setting.slot).await?;
        let command = self.setting.command("start");
        tables::refresh(&mut self.state, &published, &self.setting.tables, &command);
        Ok(())
    }

    /// The items of now; while they are faulty, those of before.
    fn read_items(&mut self) {
        if let Ok(setting) = Setting::read(&self.setting.home, &self.setting.identifier) {
            self.setting.tables = setting.tables;
        }
    }

    /// Ends at the end of a transaction, with all before it in files and told to the source.
    async fn end(&mut self, mut replication: ReplicationClient) -> Result<(), Failure> {
        let deadline = Instant::now() + LAST_WAIT;
        while self.transaction.is_some() {
            tokio::select! {
                event = replication.recv() => self.event(event, &replication).await?,
                // What has arrived of it comes again.
                () = sleep_until(deadline) => return Ok(()),
            }
        }
        self.flush(&replication).await?;
        let told = replication.metrics();
        let flushed = state::flushed(&self.state)?;
        let deadline = Instant::now() + TELL_WAIT;
        while told.last_applied_lsn() < flushed
            && replication.is_running()
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It is only the connection that may fail here, and it is not needed any more.
        let _ = replication.shutdown().await;
        Ok(())
    }
}

fn relation_name(relation: &Relation) -> Option<&TableName> {
    match relation {
        Relation::Followed(buffer) => Some(&buffer.shape.table),
        Relation::Refused { table, .. } => Some(table),
        Relation::Heartbeat(_) => None,
    }
}

/// What a change that cannot be carried takes with it.
#[derive(PartialEq, Eq)]
enum Gone {
    Nothing,
    /// Changes of the table that are not in files: a seed that heals the table is later than they are.
    Buffer,
}

fn carry(
    buffer: &mut Buffer,
    numbers: &mut Numbers,
    rows: &[(Op, &TupleData)],
    before: Before<'_>,
) -> Option<(TableName, String, Gone)> {
    let mut failed = None;
    for (op, row) in rows {
        let seq = *numbers.next();
        let table = || buffer.shape.table.clone();
        if let Err(error) = buffer.check_unchanged(row, before) {
            failed = Some((table(), error.to_string(), Gone::Nothing));
        } else if let Err(error) = buffer.append(*op, &seq, row, before) {
            return finish_numbers(numbers, rows, *op, (buffer.shape.table.clone(), error));
        }
    }
    failed
}

/// The rows after one that spoilt the buffer still take their numbers.
fn finish_numbers(
    numbers: &mut Numbers,
    rows: &[(Op, &TupleData)],
    at: Op,
    (table, error): (TableName, Uncarried),
) -> Option<(TableName, String, Gone)> {
    rows.iter()
        .skip_while(|(op, _)| *op != at)
        .skip(1)
        .for_each(|_| {
            numbers.next();
        });
    Some((table, error.to_string(), Gone::Buffer))
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp((microseconds + POSTGRES_EPOCH).div_euclid(1000))
}

fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}
