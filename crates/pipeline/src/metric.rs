//! Numbers of runs and sweeps for dashboards and alarms: their names, units and dimensions.

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
