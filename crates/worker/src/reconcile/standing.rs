//! Whether a table of silver can be held against a snapshot of the source. Decides only; looks at nothing.

use pipeline::change_files;
use pipeline::plan::TableWork;
use pipeline::position::{CaptureState, Operation, Position, Seed};

/// What is known of the changes that were committed before the snapshot.
#[derive(Debug)]
pub enum Changes {
    /// Capture has written all of them to files.
    Written(CaptureState),
    /// It has not yet, or does not run.
    Behind(Reason),
    /// Nobody says when they are all in files, or nobody writes them.
    Unknown(String),
}

/// Why a table cannot be compared, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub text: String,
    pub hint: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Silver holds what the snapshot shows: any difference is one.
    Complete,
    /// Silver may lack changes, and nobody can tell: equal is equal, but a difference proves nothing.
    Unknown(String),
    /// A running merge or capture may bring it there.
    NotYet(Reason),
    /// Waiting does not help.
    Never(Reason),
}

/// `files` are the table's change files, as they were after capture had passed the snapshot.
pub fn standing(
    identifier: &str,
    table: &TableWork,
    position: Option<&Position>,
    changes: &Changes,
    files: Vec<String>,
) -> Standing {
    let run = |pipeline: &str| {
        Some(format!(
            "headwater run --identifier {identifier} --pipeline {pipeline}"
        ))
    };
    let Some((position, seed)) = position.and_then(|it| Some((it, it.seed.as_ref()?))) else {
        return Standing::Never(Reason {
            text: "it was never seeded".to_owned(),
            hint: run("jdbc_load"),
        });
    };
    if let Some(text) = &position.needs_reseed {
        return Standing::Never(Reason {
            text: format!("it needs re-seed: {text}"),
            hint: Some(table.reload()),
        });
    }
    if let Changes::Written(capture) = changes
        && let Some(text) = lost(capture, table, position, seed)
    {
        return Standing::Never(Reason {
            text: format!("it needs re-seed: {text}"),
            hint: Some(table.reload()),
        });
    }
    if let Some(pending) = &position.pending {
        let (what, pipeline) = match pending.operation {
            Operation::Seed => ("a seed of it", "seed_hudi"),
            Operation::Merge => ("a merge into it", "incremental_hudi"),
        };
        return Standing::NotYet(Reason {
            text: format!("{what} was begun and is not done"),
            hint: run(pipeline),
        });
    }
    let unmerged = change_files::pending(files, position).len();
    if unmerged > 0 {
        return Standing::NotYet(Reason {
            text: format!("change files that are not merged into it: {unmerged}"),
            hint: run("incremental_hudi"),
        });
    }
    match changes {
        Changes::Written(_) => Standing::Complete,
        Changes::Behind(reason) => Standing::NotYet(reason.clone()),
        Changes::Unknown(text) => Standing::Unknown(text.clone()),
    }
}

/// Why changes after the position are not all in files, or never were.
fn lost(
    capture: &CaptureState,
    table: &TableWork,
    position: &Position,
    seed: &Seed,
) -> Option<String> {
    let broken = capture.broken(&table.source, position.epoch.as_deref(), &seed.t0);
    let followed = capture.tables.is_empty() || capture.tables.contains(&table.source.to_string());
    broken.or_else(|| (!followed).then(|| "capture does not follow it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::path::TableName;
    use pipeline::plan::{Engine, Partitioning, TableType, WriteOperation};
    use pipeline::position::{Applied, NeedsReseed, Pending};
    use pipeline::seq::ChangeSeq;
    use pipeline::time::Timestamp;

    const NOON: Timestamp = Timestamp(1_767_268_800_000);
    const FILE: &str = "20260101/20260101-120001000.parquet";

    fn table() -> TableWork {
        TableWork {
            identifier: "shop".into(),
            source: TableName {
                schema: "public".into(),
                table: "orders".into(),
            },
            target_table: "shop_public_orders".into(),
            loads: String::new(),
            changes: String::new(),
            silver: String::new(),
            primary_key: vec!["id".into()],
            partitioning: Partitioning::None,
            operation: WriteOperation::Upsert,
            table_type: TableType::CopyOnWrite,
            hudi_options: Default::default(),
        }
    }

    fn position(applied: Option<&str>) -> Position {
        Position {
            schema_version: 1,
            epoch: Some("e1".into()),
            seed: Some(Seed {
                run_id: "seed".into(),
                load_run_id: "load".into(),
                t0: ChangeSeq::new(NOON, 0),
                load_ended: NOON,
                rows: 1,
            }),
            applied: applied.map(|file| Applied {
                file: file.into(),
                trx_seq: ChangeSeq::new(NOON, 1),
                instant: None,
                rows: 1,
            }),
            complete_through: None,
            engine: Engine::Native,
            pending: None,
            needs_reseed: None,
        }
    }

    fn capture() -> CaptureState {
        CaptureState {
            schema_version: 1,
            epoch: "e1".into(),
            slot: "s".into(),
            heartbeat: NOON,
            flushed_lsn: "0/1".into(),
            started: NOON,
            last_seq: ChangeSeq::new(NOON, 9),
            needs_reseed: Default::default(),
            tables: vec!["public.orders".into()],
            identity: Default::default(),
        }
    }

    fn of(position: Option<&Position>, changes: &Changes, files: &[&str]) -> Standing {
        let files = files.iter().map(|&file| file.to_owned()).collect();
        standing("shop", &table(), position, changes, files)
    }

    #[test]
    fn silver_is_complete_when_every_change_file_is_merged() {
        let written = Changes::Written(capture());
        let merged = position(Some(FILE));
        assert_eq!(of(Some(&merged), &written, &[FILE]), Standing::Complete);
        assert_eq!(of(Some(&position(None)), &written, &[]), Standing::Complete);
        let unmerged = of(Some(&position(None)), &written, &[FILE]);
        assert!(
            matches!(unmerged, Standing::NotYet(reason) if reason.text.ends_with("not merged into it: 1"))
        );
    }

    #[test]
    fn what_waiting_cannot_heal_is_told_at_once() {
        let marked = |at| {
            let mut capture = capture();
            let reason = NeedsReseed {
                reason: "TRUNCATE".into(),
                at: ChangeSeq::new(at, 0),
            };
            capture.needs_reseed.insert("public.orders".into(), reason);
            Changes::Written(capture)
        };
        let (mut other_epoch, mut others_only) = (capture(), capture());
        other_epoch.epoch = "e2".into();
        others_only.tables = vec!["public.customers".into()];
        let seeded = position(None);
        let mut doubted = position(None);
        doubted.needs_reseed = Some("rows do not add up".into());
        for (position, changes, expected) in [
            (Some(&doubted), Changes::Written(capture()), "do not add up"),
            (None, Changes::Written(capture()), "never seeded"),
            (Some(&seeded), marked(NOON.plus_seconds(1)), "TRUNCATE"),
            (Some(&seeded), Changes::Written(other_epoch), "began anew"),
            (Some(&seeded), Changes::Written(others_only), "not follow"),
        ] {
            match of(position, &changes, &[]) {
                Standing::Never(reason) => assert!(reason.text.contains(expected), "{reason:?}"),
                other => panic!("{expected}: {other:?}"),
            }
        }
        // The seed came after the mark.
        let healed = of(Some(&seeded), &marked(NOON.plus_seconds(-1)), &[]);
        assert_eq!(healed, Standing::Complete);
    }

    #[test]
    fn a_merge_under_way_or_a_capture_behind_is_waited_for() {
        let mut merging = position(Some(FILE));
        merging.pending = Some(Pending {
            run_id: "r".into(),
            operation: Operation::Merge,
            base_instant: None,
            files: vec![FILE.into()],
            rows_after: None,
        });
        let standing = of(Some(&merging), &Changes::Written(capture()), &[FILE]);
        assert!(matches!(standing, Standing::NotYet(_)));
        let behind = Reason {
            text: "behind".into(),
            hint: None,
        };
        let merged = position(Some(FILE));
        let standing = of(Some(&merged), &Changes::Behind(behind.clone()), &[FILE]);
        assert_eq!(standing, Standing::NotYet(behind));
        let unknown = Changes::Unknown("no capture".into());
        let standing = of(Some(&merged), &unknown, &[FILE]);
        assert_eq!(standing, Standing::Unknown("no capture".into()));
    }
}
