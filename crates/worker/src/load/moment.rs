//! T0: the moment from which changes must be applied to the loaded rows.
//!
//! Postgres stamps a commit before others see it. A transaction that was in progress when the clock was read may have an older
//! stamp and still be missing in the snapshot: such ones are waited for, and where that takes too long T0 is the oldest of their starts.
//! In progress is what holds the lock on its own number. `pg_current_snapshot()` would not do: of those that began after the last
//! one that ended it names none.

use crate::failure::Failure;
use crate::source::failed;
use pipeline::time::Timestamp;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

/// Pauses between looks at the transactions in progress.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Looks for the starts of transactions: one may be prepared between two of them.
const STARTS_LOOKS: usize = 3;
/// Transactions that a message names.
const NAMED_MAX: usize = 5;

/// T0 and what a reader of the notice should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct T0 {
    pub at: Timestamp,
    pub note: Option<String>,
}

/// The source's clock.
pub async fn clock(client: &Client) -> Result<Timestamp, Failure> {
    let statement = format!("SELECT {}", milliseconds("clock_timestamp()"));
    let row = client.query_one(&statement, &[]).await;
    let row = row.map_err(|error| failed("the source's clock cannot be read", &error))?;
    Ok(Timestamp(row.get(0)))
}

/// T0 of a snapshot that is exported after this returns. `margin_minutes` is taken off.
pub async fn t0(client: &Client, wait: Duration, margin_minutes: u32) -> Result<T0, Failure> {
    let clock = clock(client).await?;
    let open = outlasting(client, wait).await?;
    let margin = -60 * i64::from(margin_minutes);
    if open.is_empty() {
        return Ok(T0 {
            at: clock.plus_seconds(margin),
            note: None,
        });
    }
    let (oldest, unseen) = starts(client, &open).await?;
    if !unseen.is_empty() && margin_minutes == 0 {
        return Err(cannot_see(&unseen));
    }
    let at = oldest.unwrap_or(clock).min(clock);
    Ok(T0 {
        at: at.plus_seconds(margin),
        note: oldest.map(|_| {
            format!("changes since {at} will be applied to it: a transaction of the source has been open since then")
        }),
    })
}

/// A transaction with a number, in progress or prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    /// Of itself or of a part of it.
    number: i64,
    holder: Holder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The process of its session.
    Session(i32),
    /// No session any more: any of the prepared ones, which cannot be told apart where parts have numbers of their own.
    Prepared,
}

/// Waits until the transactions in progress have ended; those that have not.
async fn outlasting(client: &Client, wait: Duration) -> Result<Vec<Open>, Failure> {
    let mut open = in_progress(client).await?;
    let deadline = Instant::now() + wait;
    let mut pause = LOOK_MIN;
    while !open.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(pause.min(deadline - Instant::now())).await;
        pause = (pause * 2).min(LOOK_MAX);
        open = still_open(client, &open).await?;
    }
    Ok(open)
}

/// Those of them that are open still, as they are held now.
async fn still_open(client: &Client, open: &[Open]) -> Result<Vec<Open>, Failure> {
    let mut now = in_progress(client).await?;
    now.retain(|one| open.iter().any(|before| before.number == one.number));
    Ok(now)
}

/// Every role may see this.
async fn in_progress(client: &Client) -> Result<Vec<Open>, Failure> {
    let rows = query(
        client,
        "SELECT transactionid::text::int8, pid FROM pg_locks
         WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted",
    )
    .await?;
    let open = rows.iter().map(|row| Open {
        number: row.get(0),
        holder: match row.get(1) {
            Some(process) => Holder::Session(process),
            None => Holder::Prepared,
        },
    });
    Ok(open.collect())
}

/// The oldest start among these transactions, and the numbers of those whose start this role cannot see.
async fn starts(client: &Client, open: &[Open]) -> Result<(Option<Timestamp>, Vec<i64>), Failure> {
    let mut open = open.to_vec();
    let (mut oldest, mut unseen) = (None, Vec::new());
    for _ in 0..STARTS_LOOKS {
        // Starts first: what is held by a session afterwards was in the same transaction before.
        let starts = starts_now(client).await?;
        open = still_open(client, &open).await?;
        let start = |one: &Open| {
            starts
                .iter()
                .find(|(holder, _)| *holder == one.holder)
                .map(|(_, start)| *start)
        };
        oldest = open.iter().filter_map(start).min();
        unseen = open
            .iter()
            .filter(|one| start(one).is_none())
            .map(|one| one.number)
            .collect();
        if unseen.is_empty() {
            break;
        }
    }
    Ok((oldest, unseen))
}

/// When each session's transaction began, and when the oldest prepared one was prepared: its commit is stamped after that.
async fn starts_now(client: &Client) -> Result<Vec<(Holder, Timestamp)>, Failure> {
    let sessions = format!(
        "SELECT pid, {} FROM pg_stat_activity WHERE xact_start IS NOT NULL",
        milliseconds("xact_start")
    );
    let prepared = format!(
        "SELECT {} FROM pg_prepared_xacts HAVING count(*) > 0",
        milliseconds("min(prepared)")
    );
    let sessions = query(client, &sessions).await?;
    let prepared = query(client, &prepared).await?;
    let sessions = sessions
        .iter()
        .map(|row| (Holder::Session(row.get(0)), Timestamp(row.get(1))));
    let prepared = prepared
        .iter()
        .map(|row| (Holder::Prepared, Timestamp(row.get(0))));
    Ok(sessions.chain(prepared).collect())
}

async fn query(client: &Client, statement: &str) -> Result<Vec<Row>, Failure> {
    client
        .query(statement, &[])
        .await
        .map_err(|error| failed("the transactions of the source cannot be read", &error))
}

/// SQL of a moment in whole milliseconds since 1970.
fn milliseconds(moment: &str) -> String {
    format!("floor(extract(epoch FROM {moment}) * 1000)::int8")
}

fn cannot_see(transactions: &[i64]) -> Failure {
    let named: Vec<String> = transactions
        .iter()
        .take(NAMED_MAX)
        .map(|number| format!("`{number}`"))
        .collect();
    Failure::new(
        "TransactionsHidden",
        format!(
            "transactions of the source stay open, and the role may not see since when: {}",
            named.join(", ")
        ),
    )
    .hint("GRANT pg_read_all_stats to the role, or set `clock_skew_minutes` of `database::config` to more than the longest transaction, or run the load when they are done")
}
