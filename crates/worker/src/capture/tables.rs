//! Which tables are followed, and which need a new seed because for a while they were not.

use super::slot::Published;
use pipeline::planning::FollowedTable;
use pipeline::position::{CaptureState, NeedsReseed};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::BTreeSet;

/// Later than any seed: only the end of the cause heals it.
fn for_good() -> ChangeSeq {
    const COUNTER_MAX: u64 = 9_999_999_999_999_999_999;
    ChangeSeq::new(Timestamp::from_civil(9999, 12, 31, 86_399_990), COUNTER_MAX)
}

/// Whether no seed heals it as things are.
pub fn is_for_good(mark: &NeedsReseed) -> bool {
    mark.at == for_good()
}

/// Brings the state to what the publication holds now. A table that is new in it, that took another's place or name, or that is
/// wanted and not in it, needs a new seed.
pub fn refresh(
    state: &mut CaptureState,
    published: &Published,
    wanted: &[FollowedTable],
    command: &str,
) {
    let before: BTreeSet<String> = state.tables.drain(..).collect();
    let places = std::mem::replace(&mut state.identity.places, published.places.clone());
    let for_good = for_good();
    let still_missing = |name: &String| !published.places.contains_key(name);
    state
        .needs_reseed
        .retain(|name, mark| mark.at != for_good || still_missing(name));
    for (name, place) in &published.places {
        let reason = match places.get(name) {
            _ if !before.contains(name) => "its changes were not captured before",
            Some(known) if known != place => {
                "it is another table than before, or its changes were not captured for a while"
            }
            _ => continue,
        };
        let mark = NeedsReseed {
            reason: reason.to_owned(),
            at: ChangeSeq::new(published.seen, 0),
        };
        state.needs_reseed.insert(name.clone(), mark);
    }
    let missing = wanted
        .iter()
        .map(|table| table.name.to_string())
        .chain(before);
    for name in missing.filter(still_missing) {
        let mark = NeedsReseed {
            reason: format!("its changes are not captured, `{command}` says why"),
            at: for_good.clone(),
        };
        state.needs_reseed.insert(name, mark);
    }
    state.tables = published.places.keys().cloned().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::state::{Seen, begin};
    use pgwire_replication::Lsn;
    use pipeline::path::TableName;
    use std::collections::BTreeMap;

    #[test]
    fn a_table_that_was_not_followed_for_a_while_needs_a_new_seed() {
        let table = |name: &str| FollowedTable {
            name: TableName {
                schema: "s".into(),
                table: name.into(),
            },
            primary_key: vec!["id".into()],
        };
        let wanted = [table("a"), table("keyless")];
        let noon = Timestamp(1_767_225_600_000);
        let seen = Seen {
            system_identifier: String::new(),
            slot: String::new(),
            confirmed: Lsn(0),
            beat: 0,
            clock: noon,
            token: String::new(),
        };
        let published = |names: &[(&str, u32)], seen| Published {
            places: names
                .iter()
                .map(|(name, place)| (name.to_string(), *place))
                .collect(),
            seen,
        };
        let mut state = begin(&seen, &BTreeMap::from([("s.a".into(), 1)]));
        let healed_by = |state: &CaptureState, name: &str, seed: Timestamp| {
            let mark = state.needs_reseed.get(name);
            mark.is_none_or(|mark| mark.at < ChangeSeq::new(seed, 0))
        };
        let years_later = noon.plus_seconds(1_000_000_000);

        let now = published(&[("s.a", 1)], noon);
        refresh(&mut state, &now, &wanted, "start");
        assert!(healed_by(&state, "s.a", noon));
        assert!(!healed_by(&state, "s.keyless", years_later));

        let now = published(&[("s.keyless", 2)], noon);
        refresh(&mut state, &now, &wanted, "start");
        assert!(!healed_by(&state, "s.a", years_later));
        assert!(!healed_by(&state, "s.keyless", noon));
        assert!(healed_by(&state, "s.keyless", noon.plus_seconds(1)));
        assert_eq!(state.tables, ["s.keyless"]);

        let now = published(&[("s.a", 3), ("s.keyless", 2)], years_later);
        refresh(&mut state, &now, &wanted, "start");
        assert!(!healed_by(&state, "s.a", years_later));
        assert!(healed_by(&state, "s.a", years_later.plus_seconds(1)));
        assert!(healed_by(&state, "s.keyless", years_later));

        let now = published(&[("s.a", 3), ("s.keyless", 4)], years_later);
        refresh(&mut state, &now, &wanted, "start");
        assert!(!healed_by(&state, "s.keyless", years_later));
    }
}
