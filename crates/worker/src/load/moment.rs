//! T0: the moment from which changes must be applied to the loaded rows.
//!
//! Postgres stamps a commit before others see it. A transaction that was in progress when the clock was read may have an older
//! stamp and still be missing in the snapshot: such ones are waited for, and where that takes too long T0 is the oldest of their starts.

use crate::failure::Failure;
use crate::source::failed;
use pipeline::time::Timestamp;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

/// Pauses between looks at the transactions in progress.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(500);
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
    let row = one(
        client,
        &format!("SELECT {}", milliseconds("clock_timestamp()")),
    )
    .await?;
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
        note: (at < clock).then(|| {
            format!("changes since {at} will be applied to it: a transaction of the source has been open since then")
        }),
    })
}

/// Waits until the transactions in progress have ended; those that have not.
async fn outlasting(client: &Client, wait: Duration) -> Result<Vec<u64>, Failure> {
    let mut open = in_progress(client).await?;
    let deadline = Instant::now() + wait;
    let mut pause = LOOK_MIN;
    while !open.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(pause.min(deadline - Instant::now())).await;
        pause = (pause * 2).min(LOOK_MAX);
        still_open(client, &mut open).await?;
    }
    Ok(open)
}

/// Keeps those that are in progress still. Numbers are never given again.
async fn still_open(client: &Client, open: &mut Vec<u64>) -> Result<(), Failure> {
    let now = in_progress(client).await?;
    open.retain(|transaction| now.contains(transaction));
    Ok(())
}

/// Transactions that have a number and whose end is not visible, prepared ones too.
async fn in_progress(client: &Client) -> Result<Vec<u64>, Failure> {
    let row = one(
        client,
        "SELECT coalesce(array_agg(number::text::int8), '{}') FROM pg_snapshot_xip(pg_current_snapshot()) AS number",
    )
    .await?;
    Ok(row
        .get::<_, Vec<i64>>(0)
        .into_iter()
        .map(i64::cast_unsigned)
        .collect())
}

/// The oldest start among these transactions, and those of them whose start this role cannot see.
async fn starts(client: &Client, open: &[u64]) -> Result<(Option<Timestamp>, Vec<u64>), Failure> {
    // In this order: a transaction that is prepared between the two looks is in one of them.
    let mut seen = numbered(
        client,
        &format!(
            "SELECT backend_xid::text::int8, {} FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL",
            milliseconds("xact_start")
        ),
    )
    .await?;
    seen.extend(
        numbered(
            client,
            &format!(
                "SELECT transaction::text::int8, {} FROM pg_prepared_xacts",
                milliseconds("prepared")
            ),
        )
        .await?,
    );
    let start = |transaction: &u64| {
        // These views show the lower half of the number.
        let short = i64::from(*transaction as u32);
        seen.iter()
            .find(|(number, _)| *number == short)
            .map(|(_, start)| *start)
    };
    let mut open = open.to_vec();
    still_open(client, &mut open).await?;
    let oldest = open.iter().filter_map(start).min();
    open.retain(|transaction| start(transaction).is_none());
    Ok((oldest, open))
}

async fn numbered(client: &Client, statement: &str) -> Result<Vec<(i64, Timestamp)>, Failure> {
    let rows = client
        .query(statement, &[])
        .await
        .map_err(|error| failed("the transactions of the source cannot be read", &error))?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), Timestamp(row.get(1))))
        .collect())
}

async fn one(client: &Client, statement: &str) -> Result<Row, Failure> {
    client
        .query_one(statement, &[])
        .await
        .map_err(|error| failed("the source's clock and transactions cannot be read", &error))
}

/// SQL of a moment in whole milliseconds since 1970.
fn milliseconds(moment: &str) -> String {
    format!("floor(extract(epoch FROM {moment}) * 1000)::int8")
}

fn cannot_see(transactions: &[u64]) -> Failure {
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
