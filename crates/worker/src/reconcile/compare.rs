//! Two sides, row by row, in any order and in bounded memory: sums over buckets of keys first, then only the rows of buckets that differ.

use super::row::Row;
use crate::failure::Failure;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One side of a comparison: gives every row, in any order, as often as it is asked.
pub trait Side: Send + Sync + 'static {
    /// Shows every row to `visit`.
    fn scan<V>(&self, visit: V) -> impl Future<Output = Result<(), Failure>> + Send
    where
        V: FnMut(&Row) + Send;
}

/// How the sides differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub rows_source: u64,
    pub rows_silver: u64,
    pub total: Total,
    /// The first of them.
    pub named: Vec<Difference>,
}

/// How many keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Exactly(u64),
    /// So many rows differ that not all of them were told apart.
    AtLeast(u64),
}

impl Default for Total {
    fn default() -> Self {
        Self::Exactly(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Not in silver.
    Missing,
    /// Not in the source.
    Extra,
    Different,
    /// More than once in silver.
    Duplicated,
}

/// The rows of one key that differ, as texts of their cells.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub source: Vec<Vec<Option<String>>>,
    pub silver: Vec<Vec<Option<String>>>,
}

/// What a comparison may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub buckets: usize,
    /// Rows, of both sides, that are told apart at once.
    pub rows: u64,
    /// Differences that are named.
    pub named: usize,
}

impl Limits {
    /// 3 MiB for the buckets of both sides, then 64 MiB for the hashes of rows.
    pub const USUAL: Self = Self {
        buckets: 1 << 16,
        rows: 2_000_000,
        named: 10,
    };
}

/// Compares two sides. Equal ones are read once, others three times.
pub async fn compare(
    source: &Arc<impl Side>,
    silver: &Arc<impl Side>,
    limits: Limits,
) -> Result<Comparison, Failure> {
    let (left, right) = both(
        sums(source.clone(), limits.buckets),
        sums(silver.clone(), limits.buckets),
    )
    .await?;
    let mut found = Comparison {
        rows_source: left.iter().map(|bucket| bucket.rows).sum(),
        rows_silver: right.iter().map(|bucket| bucket.rows).sum(),
        ..Comparison::default()
    };
    let suspects = Arc::new(Suspects::between(&left, &right, limits.rows));
    if suspects.buckets.is_empty() {
        return Ok(found);
    }
    let (left, right) = both(
        hashes(source.clone(), suspects.clone()),
        hashes(silver.clone(), suspects.clone()),
    )
    .await?;
    let keys = differing(&left, &right);
    found.total = match suspects.left_aside {
        0 => Total::Exactly(keys.len() as u64),
        // Each of these buckets holds one at least.
        buckets => Total::AtLeast(keys.len() as u64 + buckets),
    };
    let wanted: Arc<BTreeMap<u128, Kind>> = Arc::new(keys.into_iter().take(limits.named).collect());
    let (left, right) = both(
        cells(source.clone(), wanted.clone()),
        cells(silver.clone(), wanted.clone()),
    )
    .await?;
    found.named = name(&wanted, left, right);
    Ok(found)
}

/// Both sides at once, each on a thread of its own.
async fn both<T: Send + 'static>(
    left: impl Future<Output = Result<T, Failure>> + Send + 'static,
    right: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<(T, T), Failure> {
    let (left, right) = (tokio::spawn(left), tokio::spawn(right));
    let joined = |result: Result<Result<T, Failure>, tokio::task::JoinError>| {
        result.unwrap_or_else(|error| {
            Err(Failure::new("Internal", "a comparison ended by itself").caused_by(&error))
        })
    };
    Ok((joined(left.await)?, joined(right.await)?))
}

/// The rows whose keys fall into one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    rows: u64,
    /// Of the hashes of whole rows: the same in any order.
    sum: u128,
}

fn bucket_of(key_hash: u128, buckets: usize) -> usize {
    (key_hash % buckets as u128) as usize
}

async fn sums(side: Arc<impl Side>, buckets: usize) -> Result<Vec<Bucket>, Failure> {
    let mut sums = vec![Bucket::default(); buckets];
    side.scan(|row| {
        let bucket = &mut sums[bucket_of(row.key_hash(), buckets)];
        bucket.rows += 1;
        bucket.sum = bucket.sum.wrapping_add(row.hash());
    })
    .await?;
    Ok(sums)
}

/// Buckets that differ, as many as may be looked into.
struct Suspects {
    buckets: Vec<bool>,
    /// Buckets that differ beside them.
    left_aside: u64,
}

impl Suspects {
    fn between(left: &[Bucket], right: &[Bucket], rows_max: u64) -> Self {
        let mut rows = 0;
        let mut suspects = Self {
            buckets: Vec::new(),
            left_aside: 0,
        };
        for (at, (left, right)) in left.iter().zip(right).enumerate() {
            if left == right {
                continue;
            }
            let more = left.rows + right.rows;
            // One bucket is looked into however large it is.
            if suspects.buckets.is_empty() || rows + more <= rows_max {
                rows += more;
                suspects.buckets.resize(at, false);
                suspects.buckets.push(true);
            } else {
                suspects.left_aside += 1;
            }
        }
        if !suspects.buckets.is_empty() {
            suspects.buckets.resize(left.len(), false);
        }
        suspects
    }

    fn contain(&self, key_hash: u128) -> bool {
        self.buckets[bucket_of(key_hash, self.buckets.len())]
    }
}

/// The hash of a key, and of one of its rows.
type Hashes = (u128, u128);

/// Of the rows in suspect buckets, sorted.
async fn hashes(side: Arc<impl Side>, suspects: Arc<Suspects>) -> Result<Vec<Hashes>, Failure> {
    let mut found = Vec::new();
    side.scan(|row| {
        let key = row.key_hash();
        if suspects.contain(key) {
            found.push((key, row.hash()));
        }
    })
    .await?;
    found.sort_unstable();
    Ok(found)
}

/// The keys that differ, in order of their hashes.
fn differing(mut left: &[Hashes], mut right: &[Hashes]) -> Vec<(u128, Kind)> {
    let mut found = Vec::new();
    while let Some(key) = first_key(left, right) {
        let (source, silver) = (take_rows(&mut left, key), take_rows(&mut right, key));
        if let Some(kind) = kind(source, silver) {
            found.push((key, kind));
        }
    }
    found
}

fn first_key(left: &[Hashes], right: &[Hashes]) -> Option<u128> {
    [left.first(), right.first()]
        .into_iter()
        .flatten()
        .map(|(key, _)| *key)
        .min()
}

/// Cuts off the rows of one key, which stand together.
fn take_rows<'a>(rows: &mut &'a [Hashes], key: u128) -> &'a [Hashes] {
    let end = rows.iter().take_while(|row| row.0 == key).count();
    let (taken, rest) = rows.split_at(end);
    *rows = rest;
    taken
}

/// Rows of one key, sorted: how they differ.
fn kind(source: &[Hashes], silver: &[Hashes]) -> Option<Kind> {
    match (source.len(), silver.len()) {
        (_, 2..) => Some(Kind::Duplicated),
        (0, _) => Some(Kind::Extra),
        (wanted, found) if found < wanted => Some(Kind::Missing),
        _ if source != silver => Some(Kind::Different),
        _ => None,
    }
}

type Cells = HashMap<u128, Vec<Vec<Option<String>>>>;

/// Rows of one key that are kept: two show that a key is there twice.
const ROWS_OF_A_KEY_MAX: usize = 2;

/// The rows of these keys.
async fn cells(side: Arc<impl Side>, wanted: Arc<BTreeMap<u128, Kind>>) -> Result<Cells, Failure> {
    let mut found = Cells::new();
    side.scan(|row| {
        let key = row.key_hash();
        if wanted.contains_key(&key) {
            let rows = found.entry(key).or_default();
            if rows.len() < ROWS_OF_A_KEY_MAX {
                rows.push(row.cells());
            }
        }
    })
    .await?;
    Ok(found)
}

fn name(wanted: &BTreeMap<u128, Kind>, mut source: Cells, mut silver: Cells) -> Vec<Difference> {
    let mut named: Vec<Difference> = wanted
        .iter()
        .map(|(key, kind)| Difference {
            kind: *kind,
            source: source.remove(key).unwrap_or_default(),
            silver: silver.remove(key).unwrap_or_default(),
        })
        .collect();
    named.sort_by(|a, b| (a.kind, &a.source, &a.silver).cmp(&(b.kind, &b.source, &b.silver)));
    named
}
