//! Who may run now: locks by table path, tickets in order, and the reasons for not admitting.

use crate::plan::Overlap;
use crate::run::{FileRef, Trigger, TriggerKind};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One record per identifier. Its version is the fence of the run that was admitted by writing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admissions {
    pub schema_version: u32,
    /// Admitted runs. What they write is locked.
    pub live: Vec<LiveRun>,
    /// Waiting runs, first come first.
    pub tickets: Vec<Ticket>,
    /// By pipeline: runs that were skipped since the last one that was admitted.
    pub skipped_in_a_row: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveRun {
    pub run_id: String,
    pub pipeline: String,
    pub fence: u64,
    /// Its frozen plan holds its write set: the record stays small at any number of tables.
    pub plan: FileRef,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    pub run_id: String,
    pub pipeline: String,
    pub since: Timestamp,
    /// Whether the run covers all of its pipeline's tables.
    pub whole: bool,
}

/// A run that asks to be admitted.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub run_id: &'a str,
    pub pipeline: &'a str,
    pub trigger: &'a Trigger,
    pub received: Timestamp,
    pub whole: bool,
    pub writes: &'a [String],
    pub allowed_concurrent: &'a [String],
    pub overlap: Option<Overlap>,
    pub queue_until: Timestamp,
}

/// What the decision needs of a live run's plan.
#[derive(Debug, Clone)]
pub struct Footprint<'a> {
    pub run_id: &'a str,
    pub pipeline: &'a str,
    pub writes: &'a [String],
    pub allowed_concurrent: &'a [String],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Admit,
    /// With a ticket, taken now or before.
    Queue {
        behind: String,
    },
    Skip(Skip),
}

/// Why a run is not admitted, ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// A scheduled run does not wait.
    Overlap { with: String },
    /// The trigger came when the next one was nearer.
    Late { minutes: i64 },
    /// A run of the same pipeline waits already and does the same.
    Merged { into: String },
    /// It waited as long as it may.
    QueueTimeout { behind: String },
}

impl Skip {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Overlap { .. } => "Overlap",
            Self::Late { .. } => "Late",
            Self::Merged { .. } => "Merged",
            Self::QueueTimeout { .. } => "QueueTimeout",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { with } => write!(f, "Overlap: run `{with}` was under way"),
            Self::Late { minutes } => write!(
                f,
                "Late: the trigger came {minutes} minutes after it was due"
            ),
            Self::Merged { into } => {
                write!(f, "Merged: run `{into}` waits already and does the same")
            }
            Self::QueueTimeout { behind } => {
                write!(f, "QueueTimeout: run `{behind}` did not end in time")
            }
        }
    }
}

/// Schedules at least this far apart wait, shorter ones skip: the next one comes soon.
const QUEUE_INTERVAL_MINUTES: u32 = 24 * 60;

/// Decides, from the record and the plans of the live runs in it.
pub fn decide(
    record: &Admissions,
    me: &Candidate<'_>,
    live: &[Footprint<'_>],
    now: Timestamp,
) -> Admission {
    if record.live.iter().any(|run| run.run_id == me.run_id) {
        return Admission::Admit;
    }
    let has_ticket = record
        .tickets
        .iter()
        .any(|ticket| ticket.run_id == me.run_id);
    if !has_ticket && let Some(skip) = late(me) {
        return Admission::Skip(skip);
    }
    let ahead = record
        .tickets
        .iter()
        .take_while(|ticket| ticket.run_id != me.run_id);
    let blocker = live
        .iter()
        .find(|run| !may_run_beside(me, run))
        .map(|run| run.run_id.to_owned())
        .or_else(|| ahead.last().map(|ticket| ticket.run_id.clone()));
    let Some(behind) = blocker else {
        return Admission::Admit;
    };
    if !has_ticket {
        if let Overlap::Skip = overlap(me) {
            return Admission::Skip(Skip::Overlap { with: behind });
        }
        let twin = record
            .tickets
            .iter()
            .find(|ticket| ticket.pipeline == me.pipeline && ticket.whole && me.whole);
        if let Some(twin) = twin {
            return Admission::Skip(Skip::Merged {
                into: twin.run_id.clone(),
            });
        }
    }
    if now >= me.queue_until {
        return Admission::Skip(Skip::QueueTimeout { behind });
    }
    Admission::Queue { behind }
}

/// A trigger older than half its interval is late.
fn late(me: &Candidate<'_>) -> Option<Skip> {
    let (due, interval) = (me.trigger.due?, me.trigger.interval_minutes?);
    let minutes = me.received.seconds_since(due) / 60;
    (minutes * 2 > i64::from(interval)).then_some(Skip::Late { minutes })
}

fn overlap(me: &Candidate<'_>) -> Overlap {
    me.overlap
        .unwrap_or(match (me.trigger.kind, me.trigger.interval_minutes) {
            (TriggerKind::Schedule, Some(minutes)) if minutes >= QUEUE_INTERVAL_MINUTES => {
                Overlap::Queue
            }
            (TriggerKind::Schedule, _) => Overlap::Skip,
            (TriggerKind::Manual | TriggerKind::Chained | TriggerKind::Resume, _) => Overlap::Queue,
        })
}

/// Never beside itself, never two writers of one path, and only if either lists the other.
fn may_run_beside(me: &Candidate<'_>, other: &Footprint<'_>) -> bool {
    let listed = me
        .allowed_concurrent
        .iter()
        .any(|name| name == other.pipeline)
        || other
            .allowed_concurrent
            .iter()
            .any(|name| name == me.pipeline);
    me.pipeline != other.pipeline && listed && !share_a_path(me.writes, other.writes)
}

/// Whether a path of one is a path of the other, or a folder above or below it.
fn share_a_path(a: &[String], b: &[String]) -> bool {
    let covers = |upper: &[String], lower: &[String]| {
        let upper: BTreeSet<&str> = upper
            .iter()
            .map(|path| path.trim_end_matches('/'))
            .collect();
        lower.iter().any(|path| {
            let path = path.trim_end_matches('/');
            upper.contains(path)
                || path
                    .match_indices('/')
                    .any(|(at, _)| upper.contains(&path[..at]))
        })
    };
    covers(a, b) || covers(b, a)
}

impl Admissions {
    /// The record with this run admitted.
    pub fn admit(mut self, run: LiveRun) -> Self {
        self.schema_version = 1;
        self.tickets.retain(|ticket| ticket.run_id != run.run_id);
        self.skipped_in_a_row.remove(&run.pipeline);
        if self.live.iter().all(|live| live.run_id != run.run_id) {
            self.live.push(run);
        }
        self
    }

    /// The record with this run waiting.
    pub fn queue(mut self, ticket: Ticket) -> Self {
        self.schema_version = 1;
        if self.tickets.iter().all(|held| held.run_id != ticket.run_id) {
            self.tickets.push(ticket);
        }
        self
    }

    /// The record without this run.
    pub fn leave(mut self, run_id: &str) -> Self {
        self.live.retain(|run| run.run_id != run_id);
        self.tickets.retain(|ticket| ticket.run_id != run_id);
        self
    }

    /// The record with one more run of this pipeline skipped.
    pub fn skip(mut self, pipeline: &str) -> Self {
        self.schema_version = 1;
        *self
            .skipped_in_a_row
            .entry(pipeline.to_owned())
            .or_default() += 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(kind: TriggerKind, interval_minutes: Option<u32>) -> Trigger {
        Trigger {
            kind,
            id: "t".into(),
            due: interval_minutes.map(|_| Timestamp(0)),
            interval_minutes,
        }
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    struct Case {
        story: &'static str,
        pipeline: &'static str,
        trigger: Trigger,
        received_minutes: i64,
        allowed: &'static [&'static str],
        live: &'static [(
            &'static str,
            &'static [&'static str],
            &'static [&'static str],
        )],
        tickets: &'static [(&'static str, &'static str)],
        now_minutes: i64,
        expected: &'static str,
    }

    #[test]
    fn admission_in_every_case() {
        let manual = || trigger(TriggerKind::Manual, None);
        let hourly = || trigger(TriggerKind::Schedule, Some(60));
        let base = || Case {
            story: "",
            pipeline: "seed_hudi",
            trigger: manual(),
            received_minutes: 0,
            allowed: &[],
            live: &[],
            tickets: &[],
            now_minutes: 0,
            expected: "",
        };
        let cases = [
            Case {
                story: "nothing else runs",
                expected: "Admit",
                ..base()
            },
            Case {
                story: "another pipeline runs, neither lists the other",
                live: &[("jdbc_load", &["other"], &[])],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "I list it",
                live: &[("jdbc_load", &["other"], &[])],
                allowed: &["jdbc_load"],
                expected: "Admit",
                ..base()
            },
            Case {
                story: "it lists me",
                live: &[("jdbc_load", &["other"], &["seed_hudi"])],
                expected: "Admit",
                ..base()
            },
            Case {
                story: "listed, but it writes my path",
                live: &[("jdbc_load", &["s3://b/t"], &["seed_hudi"])],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "listed, but it writes a folder above mine",
                live: &[("x", &["s3://b/"], &["seed_hudi"])],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "a longer name is not a folder below",
                live: &[("x", &["s3://b/t2"], &["seed_hudi"])],
                expected: "Admit",
                ..base()
            },
            Case {
                story: "never beside itself",
                live: &[("seed_hudi", &["other"], &["seed_hudi"])],
                allowed: &["seed_hudi"],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "a short schedule skips",
                trigger: hourly(),
                live: &[("seed_hudi", &[], &[])],
                expected: "Overlap",
                ..base()
            },
            Case {
                story: "a daily schedule queues",
                trigger: trigger(TriggerKind::Schedule, Some(1440)),
                live: &[("seed_hudi", &[], &[])],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "half an interval late is not late",
                trigger: hourly(),
                received_minutes: 30,
                expected: "Admit",
                ..base()
            },
            Case {
                story: "more than half is",
                trigger: hourly(),
                received_minutes: 31,
                expected: "Late",
                ..base()
            },
            Case {
                story: "a scheduled run behind a ticket is skipped",
                trigger: hourly(),
                tickets: &[("other", "jdbc_load")],
                expected: "Overlap",
                ..base()
            },
            Case {
                story: "a manual run goes behind a ticket",
                tickets: &[("other", "jdbc_load")],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "my ticket is first",
                tickets: &[("me", "seed_hudi"), ("other", "jdbc_load")],
                expected: "Admit",
                ..base()
            },
            Case {
                story: "my ticket is second",
                tickets: &[("other", "jdbc_load"), ("me", "seed_hudi")],
                expected: "Queue",
                ..base()
            },
            Case {
                story: "my twin waits already",
                tickets: &[("other", "seed_hudi")],
                live: &[("seed_hudi", &[], &[])],
                expected: "Merged",
                ..base()
            },
            Case {
                story: "the wait is over",
                tickets: &[("me", "seed_hudi")],
                live: &[("seed_hudi", &[], &[])],
                now_minutes: 60,
                expected: "QueueTimeout",
                ..base()
            },
        ];
        for case in cases {
            let mut record = Admissions::default();
            let live_texts: Vec<_> = case
                .live
                .iter()
                .map(|(p, w, a)| (*p, texts(w), texts(a)))
                .collect();
            for (at, (pipeline, ..)) in live_texts.iter().enumerate() {
                let plan = FileRef {
                    uri: String::new(),
                    sha256: String::new(),
                };
                record = record.admit(LiveRun {
                    run_id: format!("live{at}"),
                    pipeline: (*pipeline).into(),
                    fence: 1,
                    plan,
                });
            }
            for (run_id, pipeline) in case.tickets {
                record = record.queue(Ticket {
                    run_id: (*run_id).into(),
                    pipeline: (*pipeline).into(),
                    since: Timestamp(0),
                    whole: true,
                });
            }
            let footprints: Vec<_> = live_texts
                .iter()
                .map(|(pipeline, writes, allowed)| Footprint {
                    run_id: "live0",
                    pipeline,
                    writes,
                    allowed_concurrent: allowed,
                })
                .collect();
            let writes = texts(&["s3://b/t"]);
            let allowed = texts(case.allowed);
            let me = Candidate {
                run_id: "me",
                pipeline: case.pipeline,
                trigger: &case.trigger,
                received: Timestamp(case.received_minutes * 60_000),
                whole: true,
                writes: &writes,
                allowed_concurrent: &allowed,
                overlap: None,
                queue_until: Timestamp(3_600_000),
            };
            let found = match decide(
                &record,
                &me,
                &footprints,
                Timestamp(case.now_minutes * 60_000),
            ) {
                Admission::Admit => "Admit",
                Admission::Queue { .. } => "Queue",
                Admission::Skip(skip) => skip.name(),
            };
            assert_eq!(found, case.expected, "{}", case.story);
        }
    }
}
