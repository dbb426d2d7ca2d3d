//! Numbers of runs and sweeps for dashboards and alarms: their names, units and dimensions.

use crate::notice::Counts;
use crate::outcome::Outcome;
use crate::run::Run;
use crate::time::Timestamp;
use serde::Serialize;
use std::fmt;

/// One number, of one identifier and pipeline where it is about a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    pub name: MetricName,
    pub value: f64,
    pub about: About,
}

/// What a number is about: its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Stack,
    Pipeline {
        identifier: String,
        pipeline: String,
    },
}

/// The closed set of names, which alarms and dashboard use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum MetricName {
    RunsSucceeded,
    RunsPartial,
    RunsFailed,
    RunsAborted,
    RunsSkipped,
    TableRows,
    TablesFailed,
    RunSeconds,
    QueueSeconds,
    ClusterMinutes,
    FreshnessSeconds,
    CaptureSilent,
    OldestChangeFileSeconds,
    Sweeps,
    OrphanClusters,
    ConfirmedSubscriptions,
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl MetricName {
    pub const ALL: [Self; 16] = [
        Self::RunsSucceeded,
        Self::RunsPartial,
        Self::RunsFailed,
        Self::RunsAborted,
        Self::RunsSkipped,
        Self::TableRows,
        Self::TablesFailed,
        Self::RunSeconds,
        Self::QueueSeconds,
        Self::ClusterMinutes,
        Self::FreshnessSeconds,
        Self::CaptureSilent,
        Self::OldestChangeFileSeconds,
        Self::Sweeps,
        Self::OrphanClusters,
        Self::ConfirmedSubscriptions,
    ];

    /// CloudWatch's name of the unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::RunSeconds
            | Self::QueueSeconds
            | Self::FreshnessSeconds
            | Self::OldestChangeFileSeconds => "Seconds",
            Self::RunsSucceeded
            | Self::RunsPartial
            | Self::RunsFailed
            | Self::RunsAborted
            | Self::RunsSkipped
            | Self::TableRows
            | Self::TablesFailed
            | Self::ClusterMinutes
            | Self::CaptureSilent
            | Self::Sweeps
            | Self::OrphanClusters
            | Self::ConfirmedSubscriptions => "Count",
        }
    }
}

impl About {
    fn run(run: &Run) -> Self {
        Self::Pipeline {
            identifier: run.input.identifier.clone(),
            pipeline: run.input.pipeline.clone(),
        }
    }

    fn metric(&self, name: MetricName, value: f64) -> Metric {
        Metric {
            name,
            value,
            about: self.clone(),
        }
    }
}

/// A run whose outcome is fixed. Every outcome is counted, by 1 or 0: an alarm on one hears of the runs that ended otherwise.
pub fn of_outcome(run: &Run, outcome: Outcome, counts: &Counts) -> Vec<Metric> {
    let about = About::run(run);
    let mut metrics: Vec<Metric> = [
        (MetricName::RunsSucceeded, Outcome::Succeeded),
        (MetricName::RunsPartial, Outcome::Partial),
        (MetricName::RunsFailed, Outcome::Failed),
        (MetricName::RunsAborted, Outcome::Aborted),
        (MetricName::RunsSkipped, Outcome::Skipped),
    ]
    .map(|(name, counted)| about.metric(name, f64::from(u8::from(outcome == counted))))
    .to_vec();
    metrics.push(about.metric(MetricName::TableRows, counts.rows as f64));
    metrics.push(about.metric(MetricName::TablesFailed, f64::from(counts.failed)));
    let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).map(|(from, to)| to.seconds_since(from) as f64)
    };
    // A run that was refused at the door has neither queued nor run.
    let queued = run.admitted.or(run.queue_until.and(run.closing));
    metrics.extend(
        seconds(Some(run.received), queued)
            .map(|queued| about.metric(MetricName::QueueSeconds, queued)),
    );
    metrics.extend(
        seconds(run.admitted, run.closing).map(|ran| about.metric(MetricName::RunSeconds, ran)),
    );
    metrics
}

/// A run whose clusters are gone: what they cost, and up to when all tables of the identifier are complete, where known.
pub fn of_end(run: &Run, complete_through: Option<Timestamp>, now: Timestamp) -> Vec<Metric> {
    let about = About::run(run);
    let had = run.clusters.iter().filter(|cluster| cluster.id.is_some());
    let seconds: i64 = had
        .map(|cluster| {
            cluster
                .closed
                .unwrap_or(now)
                .seconds_since(cluster.intended)
        })
        .sum();
    let mut metrics = vec![about.metric(MetricName::ClusterMinutes, seconds as f64 / 60.0)];
    let follows_changes = run.kind.is_some_and(|kind| kind.change_driven());
    metrics.extend(
        complete_through
            .filter(|_| follows_changes)
            .map(|complete| {
                let stale = now.seconds_since(complete).max(0);
                about.metric(MetricName::FreshnessSeconds, stale as f64)
            }),
    );
    metrics
}

/// Capture is alive; the oldest change file that no merge has consumed was written then.
pub fn of_live_capture(run: &Run, oldest: Option<Timestamp>, now: Timestamp) -> Vec<Metric> {
    let about = About::run(run);
    let age = oldest.map_or(0, |oldest| now.seconds_since(oldest).max(0));
    vec![
        about.metric(MetricName::CaptureSilent, 0.0),
        about.metric(MetricName::OldestChangeFileSeconds, age as f64),
    ]
}

/// Capture shows no life: how old its files are says nothing then.
pub fn of_silent_capture(run: &Run) -> Vec<Metric> {
    vec![About::run(run).metric(MetricName::CaptureSilent, 1.0)]
}

/// What one sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepCounts {
    /// Clusters without a live owner that were told to terminate.
    pub orphans: usize,
    /// `None` when nobody could say.
    pub confirmed: Option<u32>,
    /// Parts of the sweep that failed.
    pub faults: usize,
}

/// A sweep; only one without a fault counts.
pub fn of_sweep(counts: SweepCounts) -> Vec<Metric> {
    let about = About::Stack;
    let mut metrics = vec![
        about.metric(MetricName::Sweeps, f64::from(u8::from(counts.faults == 0))),
        about.metric(MetricName::OrphanClusters, counts.orphans as f64),
    ];
    metrics.extend(
        counts.confirmed.map(|confirmed| {
            about.metric(MetricName::ConfirmedSubscriptions, f64::from(confirmed))
        }),
    );
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PipelineKind;
    use crate::run::{Chain, ClusterRecord, RunStatus, StartInput, Trigger, TriggerKind};
    use std::collections::BTreeMap;

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    fn cluster(id: Option<&str>, intended: i64, closed: Option<i64>) -> ClusterRecord {
        ClusterRecord {
            attempt: 1,
            name: "c".to_owned(),
            intended: at(intended),
            id: id.map(str::to_owned),
            closed: closed.map(at),
            reason: None,
        }
    }

    /// Received at 100, admitted at 160, closing at 1000.
    fn run() -> Run {
        Run {
            schema_version: 1,
            run_id: "r".to_owned(),
            input: StartInput {
                identifier: "shop".to_owned(),
                pipeline: "incremental_hudi".to_owned(),
                trigger: Trigger {
                    kind: TriggerKind::Manual,
                    id: "k".to_owned(),
                    due: None,
                    interval_minutes: None,
                },
                root_run_id: None,
                resumes: None,
                depth: 0,
                only: None,
                chain: Chain::Configured,
                engine: None,
            },
            owner_execution: "e".to_owned(),
            status: RunStatus::Closing,
            received: at(100),
            queue_until: None,
            admitted: Some(at(160)),
            fence: Some(1),
            deadline: None,
            plan: None,
            kind: Some(PipelineKind::IncrementalHudi),
            notify: None,
            work: None,
            clusters: Vec::new(),
            cancel: None,
            cause: None,
            skip: None,
            outcome: None,
            closing: Some(at(1000)),
            ended: None,
        }
    }

    fn values(metrics: Vec<Metric>) -> BTreeMap<MetricName, f64> {
        let about = About::run(&run());
        metrics
            .into_iter()
            .inspect(|metric| assert!(metric.about == about || metric.about == About::Stack))
            .map(|metric| (metric.name, metric.value))
            .collect()
    }

    #[test]
    fn a_run_counts_for_its_outcome_and_for_no_other() {
        let counts = Counts {
            succeeded: 2,
            failed: 1,
            rows: 70,
            ..Counts::default()
        };
        let found = values(of_outcome(&run(), Outcome::Partial, &counts));
        let expected = [
            (MetricName::RunsSucceeded, 0.0),
            (MetricName::RunsPartial, 1.0),
            (MetricName::RunsFailed, 0.0),
            (MetricName::RunsAborted, 0.0),
            (MetricName::RunsSkipped, 0.0),
            (MetricName::TableRows, 70.0),
            (MetricName::TablesFailed, 1.0),
            (MetricName::RunSeconds, 840.0),
            (MetricName::QueueSeconds, 60.0),
        ];
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn a_run_that_was_never_admitted_has_only_queued() {
        let mut queued = run();
        queued.admitted = None;
        queued.queue_until = Some(at(900));
        let found = values(of_outcome(&queued, Outcome::Skipped, &Counts::default()));
        assert_eq!(found.get(&MetricName::QueueSeconds), Some(&900.0));
        assert_eq!(found.get(&MetricName::RunSeconds), None);
        queued.queue_until = None;
        let found = values(of_outcome(&queued, Outcome::Failed, &Counts::default()));
        assert_eq!(found.get(&MetricName::QueueSeconds), None);
    }

    #[test]
    fn every_cluster_that_was_had_costs_from_its_intent_to_its_end() {
        let mut run = run();
        run.clusters = vec![
            cluster(Some("j-1"), 200, Some(260)),
            cluster(None, 260, Some(300)),
            cluster(Some("j-2"), 300, None),
        ];
        let found = values(of_end(&run, Some(at(400)), at(1020)));
        assert_eq!(found[&MetricName::ClusterMinutes], 13.0);
        assert_eq!(found[&MetricName::FreshnessSeconds], 620.0);
        run.kind = Some(PipelineKind::JdbcLoad);
        let found = values(of_end(&run, Some(at(400)), at(1020)));
        assert_eq!(
            found.get(&MetricName::FreshnessSeconds),
            None,
            "a load does not follow changes"
        );
    }

    #[test]
    fn a_silent_capture_is_told_and_so_is_one_that_lives() {
        let silent = values(of_silent_capture(&run()));
        assert_eq!(silent, BTreeMap::from([(MetricName::CaptureSilent, 1.0)]));
        for (oldest, age) in [(None, 0.0), (Some(at(50)), 70.0), (Some(at(130)), 0.0)] {
            let alive = values(of_live_capture(&run(), oldest, at(120)));
            assert_eq!(alive[&MetricName::CaptureSilent], 0.0);
            assert_eq!(alive[&MetricName::OldestChangeFileSeconds], age);
        }
    }

    #[test]
    fn a_sweep_with_a_fault_does_not_count_and_an_unknown_number_is_not_told() {
        let counts = SweepCounts {
            orphans: 2,
            confirmed: None,
            faults: 1,
        };
        let expected = [(MetricName::Sweeps, 0.0), (MetricName::OrphanClusters, 2.0)];
        assert_eq!(values(of_sweep(counts)), BTreeMap::from(expected));
        let found = values(of_sweep(SweepCounts {
            confirmed: Some(0),
            faults: 0,
            ..counts
        }));
        assert_eq!(found[&MetricName::Sweeps], 1.0);
        assert_eq!(found[&MetricName::ConfirmedSubscriptions], 0.0);
    }
}
