//! Whether the keys of a load are distinct, in bounded memory whatever its size.

use super::load::CompleteLoad;
use crate::failure::Failure;
use crate::silver::KeyColumns;
use pipeline::plan::TableWork;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// Keys held at once, as hashes of 16 bytes: 256 MB.
const HASHES_MAX: u64 = 16 << 20;
/// Duplicated keys that are named.
const NAMED_MAX: usize = 5;

/// The number of distinct keys, if every row has its own.
pub fn count(work: &TableWork, load: &CompleteLoad, keys: &KeyColumns) -> Result<u64, Failure> {
    count_by(work, load, keys, HASHES_MAX)
}

/// Reads the key columns as often as it needs to hold no more than `hashes_max` keys at once.
pub fn count_by(
    work: &TableWork,
    load: &CompleteLoad,
    keys: &KeyColumns,
    hashes_max: u64,
) -> Result<u64, Failure> {
    let passes = load.manifest.rows.div_ceil(hashes_max).max(1);
    let mut distinct = 0;
    for pass in 0..passes {
        let held = load.manifest.rows.min(hashes_max);
        let mut hashes = Vec::with_capacity(usize::try_from(held).unwrap_or_default());
        for_each_key(work, load, keys, |_, hash| {
            if hash % u128::from(passes) == u128::from(pass) {
                hashes.push(hash);
            }
        })?;
        hashes.sort_unstable();
        let twice: Vec<u128> = hashes
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .collect();
        if !twice.is_empty() {
            return Err(duplicates(work, load, keys, twice)?);
        }
        distinct += hashes.len() as u64;
    }
    Ok(distinct)
}

fn for_each_key(
    work: &TableWork,
    load: &CompleteLoad,
    keys: &KeyColumns,
    mut each: impl FnMut(&str, u128),
) -> Result<(), Failure> {
    let mut key = String::new();
    load.for_each(work, Some(keys.names()), |batch| {
        let of_batch = keys.keys(&batch)?;
        for row in 0..batch.num_rows() {
            of_batch.write(row, &mut key)?;
            each(&key, xxh3_128(key.as_bytes()));
        }
        Ok(())
    })
}

/// Names some of the keys that are there more than once.
fn duplicates(
    work: &TableWork,
    load: &CompleteLoad,
    keys: &KeyColumns,
    mut twice: Vec<u128>,
) -> Result<Failure, Failure> {
    let count = {
        twice.dedup();
        twice.len()
    };
    twice.truncate(NAMED_MAX);
    let mut named: BTreeMap<String, u64> = BTreeMap::new();
    for_each_key(work, load, keys, |key, hash| {
        if twice.binary_search(&hash).is_ok() {
            *named.entry(key.to_owned()).or_default() += 1;
        }
    })?;
    let examples: Vec<String> = named
        .iter()
        .map(|(key, rows)| format!("`{key}` ({rows} rows)"))
        .collect();
    Ok(Failure::new(
        "DuplicateKeys",
        format!(
            "{count} keys of `{}` have more than one row in its load: {}",
            work.source,
            examples.join(", ")
        ),
    )
    .hint("`hudi_config.primary_key` must tell the rows of the table apart"))
}
