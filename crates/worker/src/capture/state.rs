//! The state file, and whether capture goes on from it or begins anew.

use super::setting::{Setting, cannot_write};
use crate::failure::Failure;
use crate::store::disk;
use pgwire_replication::Lsn;
use pipeline::position::{CaptureIdentity, CaptureState};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

const SCHEMA_VERSION: u32 = 1;

/// The state, or `None` before the first.
pub fn read(setting: &Setting) -> Result<Option<CaptureState>, Failure> {
    let path = setting.state_file()?;
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path).caused_by(&error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| unreadable(&path).caused_by(&error))
}

fn unreadable(path: &Path) -> Failure {
    let path = path.display();
    Failure::new("StateUnreadable", format!("the state of capture cannot be read: `{path}`"))
        .hint("put the file back from a copy; without it capture begins anew and every table needs a new seed")
}

pub fn write(setting: &Setting, state: &CaptureState) -> Result<(), Failure> {
    let path = setting.state_file()?;
    // A value whose map keys are all text can always be written.
    let bytes = serde_json::to_vec_pretty(state).unwrap_or_default();
    disk::put(&path, &bytes).map_err(|error| cannot_write(&path, &error))
}

/// The position up to which all is in files.
pub fn flushed(state: &CaptureState) -> Result<Lsn, Failure> {
    state.flushed_lsn.parse().map_err(|_| {
        Failure::new(
            "StateUnreadable",
            format!(
                "`flushed_lsn` of capture's state is not a position: `{}`",
                state.flushed_lsn
            ),
        )
    })
}

/// What the source says of itself and of the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub system_identifier: String,
    pub slot: String,
    /// What the slot was told to be done with.
    pub confirmed: Lsn,
    /// The count of the source's heartbeat; 0 when there is none.
    pub beat: u64,
    /// The source's clock.
    pub clock: Timestamp,
    /// A random text.
    pub token: String,
}

/// Why changes between the state and the stream may be missing.
pub fn broken(state: &CaptureState, seen: &Seen) -> Result<Option<&'static str>, Failure> {
    let flushed = flushed(state)?;
    Ok(if state.slot != seen.slot {
        Some("the slot is another one")
    } else if state.identity.system_identifier != seen.system_identifier {
        Some("the source is another database server")
    } else if seen.confirmed > flushed {
        Some("the slot was lost and made anew, or somebody else read from it")
    } else if seen.beat < state.identity.beat {
        Some("the source was set back to an earlier state of itself")
    } else {
        None
    })
}

/// The state in which an epoch begins, with these tables.
pub fn begin(seen: &Seen, places: &BTreeMap<String, u32>) -> CaptureState {
    CaptureState {
        schema_version: SCHEMA_VERSION,
        epoch: format!("{}/{}/{}", seen.system_identifier, seen.slot, seen.token),
        slot: seen.slot.clone(),
        heartbeat: seen.clock,
        flushed_lsn: seen.confirmed.to_string(),
        started: seen.clock,
        last_seq: ChangeSeq::new(Timestamp(0), 0),
        needs_reseed: BTreeMap::new(),
        tables: places.keys().cloned().collect(),
        identity: CaptureIdentity {
            system_identifier: seen.system_identifier.clone(),
            beat: seen.beat,
            places: places.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_when_the_slot_or_the_source_is_not_what_it_was() {
        let seen = Seen {
            system_identifier: "7".into(),
            slot: "s".into(),
            confirmed: Lsn(100),
            beat: 5,
            clock: Timestamp(0),
            token: "t".into(),
        };
        let state = begin(&seen, &BTreeMap::new());
        let story = |change: fn(&mut Seen)| {
            let mut seen = seen.clone();
            change(&mut seen);
            broken(&state, &seen).expect("the state is right").is_some()
        };
        // Killed between state and slot: the slot is behind.
        assert!(!story(|seen| seen.confirmed = Lsn(60)));
        assert!(!story(|seen| seen.beat = 9));
        assert!(story(|seen| seen.slot = "other".into()));
        assert!(story(|seen| seen.system_identifier = "8".into()));
        assert!(story(|seen| seen.confirmed = Lsn(101)));
        assert!(story(|seen| seen.beat = 4));
    }
}
