//! Which change files are new: their order, and where a table stands in it.

use crate::position::Position;
use crate::time::Timestamp;

/// The place of a change file in its table's order: its name, which is the moment of its writing, then its folder.
/// Partitions folded under their parent, and date folders, do not disturb the order. A name that is no moment comes before
/// those that are: as the position, it must not hide what is written later.
pub fn order(path: &str) -> (bool, &str, &str) {
    let (name, folder) = parts(path);
    (written(path).is_some(), name, folder)
}

fn parts(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some((folder, name)) => (name, folder),
        None => (path, ""),
    }
}

/// The moment in a name like `20261123-192435123.parquet`; `None` for other names.
pub fn written(path: &str) -> Option<Timestamp> {
    let (name, _) = parts(path);
    let digits = name.get(..18)?;
    let number = |from: usize, to: usize| -> Option<i64> {
        let text = digits.get(from..to)?;
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    if digits.as_bytes().get(8) != Some(&b'-') {
        return None;
    }
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    let ms =
        ((number(9, 11)? * 60 + number(11, 13)?) * 60 + number(13, 15)?) * 1000 + number(15, 18)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(Timestamp::from_civil(
        number(0, 4)?,
        month as u32,
        day as u32,
        ms,
    ))
}

/// The files of a table that its position does not cover, in order.
pub fn pending(mut files: Vec<String>, position: &Position) -> Vec<String> {
    files.sort_by(|a, b| order(a).cmp(&order(b)));
    match (&position.applied, &position.seed) {
        (Some(applied), _) => files.retain(|file| order(file) > order(&applied.file)),
        // A file is written after the last change in it: one written before T0 holds nothing at or after T0.
        (None, Some(seed)) => {
            let t0 = seed.t0.timestamp();
            files.retain(|file| written(file).is_none_or(|written| written >= t0));
        }
        (None, None) => {}
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Engine;
    use crate::position::{Applied, Seed};
    use crate::seq::ChangeSeq;

    fn position(applied: Option<&str>, t0: Timestamp) -> Position {
        Position {
            schema_version: 1,
            epoch: None,
            seed: Some(Seed {
                run_id: "s".into(),
                load_run_id: "l".into(),
                t0: ChangeSeq::new(t0, 0),
                load_ended: t0,
                rows: 0,
            }),
            applied: applied.map(|file| Applied {
                file: file.into(),
                trx_seq: ChangeSeq::new(t0, 1),
                instant: None,
                rows: 0,
            }),
            complete_through: None,
            engine: Engine::Native,
            pending: None,
            needs_reseed: None,
        }
    }

    #[test]
    fn files_go_by_name_across_folders_and_begin_after_the_position() {
        let files: Vec<String> = [
            "20261124/20261124-000000001.parquet",
            "20261123/20261123-235959999.parquet",
            "part_b/20261123/20261123-235959999.parquet",
            "20261123/20261123-120000000.parquet",
        ]
        .map(String::from)
        .to_vec();
        let noon = written("20261123-120000000.parquet").unwrap();
        assert_eq!(noon.to_string(), "2026-11-23T12:00:00.000Z");
        let after = pending(
            files.clone(),
            &position(Some("20261123/20261123-235959999.parquet"), noon),
        );
        assert_eq!(
            after,
            [
                "part_b/20261123/20261123-235959999.parquet",
                "20261124/20261124-000000001.parquet"
            ]
        );
        assert_eq!(pending(files.clone(), &position(None, noon)).len(), 4);
        assert_eq!(
            pending(files.clone(), &position(None, noon.plus_seconds(1))).len(),
            3
        );
        assert_eq!(written("LOAD00000001.parquet"), None);
    }

    #[test]
    fn a_file_whose_name_is_no_moment_hides_no_later_one() {
        let files = [
            "LOAD00000001.parquet",
            "20261124/20261124-000000001.parquet",
        ];
        let pending = |applied| {
            let files = files.map(String::from).to_vec();
            pending(files, &position(applied, Timestamp(0)))
        };
        assert_eq!(pending(None), files);
        assert_eq!(pending(Some(files[0])), files[1..]);
        assert!(pending(Some(files[1])).is_empty());
    }
}
