//! Capture as it shows itself in the lake: how far it is, and whether it still follows.

use crate::failure::Failure;
use crate::store;
use pipeline::change_files;
use pipeline::path::{CAPTURE_FILE, TableName};
use pipeline::plan::{CaptureKind, Plan};
use pipeline::position::CaptureState;
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::io;

/// What capture says of itself.
#[derive(Debug, Clone)]
pub struct Capture {
    /// All that the source committed before this is in change files.
    pub heartbeat: Timestamp,
    /// Of our own capture.
    pub state: Option<CaptureState>,
}

impl Capture {
    /// Looks at it now; files that are listed afterwards hold all that the heartbeat covers.
    pub fn look(plan: &Plan) -> Result<Option<Self>, Failure> {
        match plan.source.capture.kind {
            CaptureKind::Headwater => own(plan),
            CaptureKind::Dms => dms(plan),
            CaptureKind::None => Err(Failure::new(
                "CaptureNone",
                "`capture.kind` is `none`: there are no change files to merge",
            )
            .hint("set `capture.kind` in `database::config`, or run jdbc_load and seed_hudi")),
        }
    }

    /// Why changes of a table cannot be followed from a load at `t0` in this epoch.
    pub fn broken(&self, table: &TableName, epoch: Option<&str>, t0: &ChangeSeq) -> Option<String> {
        self.state.as_ref()?.broken(table, epoch, t0)
    }
}

fn own(plan: &Plan) -> Result<Option<Capture>, Failure> {
    let root = store::location(&plan.zones.changes_root(&plan.source.db))?;
    let place = root.join(CAPTURE_FILE);
    let bytes = match place.read() {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(super::unusable(&place, &error)),
    };
    let state: CaptureState = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(
            "CaptureStateUnreadable",
            format!("`{place}` is not of its form: {error}"),
        )
        .hint("put the file back from a copy; without it capture begins anew and every table needs a new seed")
    })?;
    Ok(Some(Capture {
        heartbeat: state.heartbeat,
        state: Some(state),
    }))
}

/// The newest change file of the heartbeat table tells when DMS last wrote.
fn dms(plan: &Plan) -> Result<Option<Capture>, Failure> {
    let table = TableName {
        schema: "headwater".to_owned(),
        table: "heartbeat".to_owned(),
    };
    let folder = store::location(&plan.zones.changes(&plan.source.db, &table))?;
    let files = folder
        .data_files()
        .map_err(|error| super::unusable(&folder, &error))?;
    Ok(files
        .iter()
        .filter_map(|file| change_files::written(file))
        .max()
        .map(|heartbeat| Capture {
            heartbeat,
            state: None,
        }))
}
