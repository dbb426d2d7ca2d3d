//! Numbers as embedded metrics: lines on stdout that CloudWatch reads from the log. No call is made, so none can fail.

use crate::{Aws, Numbers};
use pipeline::metric::{About, Metric};
use pipeline::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use tasks::port::{Clock, Metrics};

const NAMESPACE: &str = "Headwater";
/// Metrics, and values of one metric, that an object may hold.
const METRICS_MAX: usize = 100;

impl Metrics for Aws {
    fn record(&self, metrics: &[Metric]) {
        if self.numbers == Numbers::Dropped {
            return;
        }
        let mut lines = String::new();
        for object in objects(&self.resources().stack, self.now(), metrics) {
            lines.push_str(&object.to_string());
            lines.push('\n');
        }
        // Nobody can be told that stdout is gone.
        let _ = std::io::stdout().lock().write_all(lines.as_bytes());
    }
}

/// One object for all numbers about the same thing.
fn objects(stack: &str, now: Timestamp, metrics: &[Metric]) -> Vec<Value> {
    let mut about: BTreeMap<&About, Vec<&Metric>> = BTreeMap::new();
    for metric in metrics {
        about.entry(&metric.about).or_default().push(metric);
    }
    about
        .into_iter()
        .flat_map(|(about, metrics)| {
            let chunks = metrics.chunks(METRICS_MAX).map(<[&Metric]>::to_vec);
            chunks
                .map(|metrics| object(stack, now, about, &metrics))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn object(stack: &str, now: Timestamp, about: &About, metrics: &[&Metric]) -> Value {
    let mut members = Map::from_iter([("Stack".to_owned(), json!(stack))]);
    let dimensions = match about {
        About::Stack => json!([["Stack"]]),
        About::Pipeline {
            identifier,
            pipeline,
        } => {
            members.insert("Identifier".to_owned(), json!(identifier));
            members.insert("Pipeline".to_owned(), json!(pipeline));
            json!([["Stack"], ["Stack", "Identifier", "Pipeline"]])
        }
    };
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for metric in metrics {
        values.entry(metric.name).or_default().push(metric.value);
    }
    let units: Vec<Value> = values
        .keys()
        .map(|name| json!({"Name": name.to_string(), "Unit": name.unit()}))
        .collect();
    for (name, values) in values {
        members.insert(name.to_string(), json!(values));
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": units});
    members.insert(
        "_aws".to_owned(),
        json!({"Timestamp": now.0, "CloudWatchMetrics": [directive]}),
    );
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::metric::MetricName;

    fn metric(name: MetricName, value: f64, pipeline: Option<&str>) -> Metric {
        let about = pipeline.map_or(About::Stack, |pipeline| About::Pipeline {
            identifier: "shop".to_owned(),
            pipeline: pipeline.to_owned(),
        });
        Metric { name, value, about }
    }

    #[test]
    fn numbers_about_one_thing_are_one_object_of_the_embedded_metric_format() {
        let metrics = [
            metric(MetricName::RunsFailed, 1.0, Some("seed_hudi")),
            metric(MetricName::Sweeps, 1.0, None),
            metric(MetricName::RunSeconds, 61.5, Some("seed_hudi")),
            metric(MetricName::RunsFailed, 0.0, Some("jdbc_load")),
        ];
        let found = objects("lake", Timestamp(1_700_000_000_000), &metrics);
        let dimensions = json!([["Stack"], ["Stack", "Identifier", "Pipeline"]]);
        let expected = [
            json!({
                "Stack": "lake", "Sweeps": [1.0],
                "_aws": {"Timestamp": 1_700_000_000_000_i64, "CloudWatchMetrics": [{
                    "Namespace": "Headwater", "Dimensions": [["Stack"]], "Metrics": [{"Name": "Sweeps", "Unit": "Count"}],
                }]},
            }),
            json!({
                "Stack": "lake", "Identifier": "shop", "Pipeline": "jdbc_load", "RunsFailed": [0.0],
                "_aws": {"Timestamp": 1_700_000_000_000_i64, "CloudWatchMetrics": [{
                    "Namespace": "Headwater", "Dimensions": dimensions, "Metrics": [{"Name": "RunsFailed", "Unit": "Count"}],
                }]},
            }),
            json!({
                "Stack": "lake", "Identifier": "shop", "Pipeline": "seed_hudi", "RunsFailed": [1.0], "RunSeconds": [61.5],
                "_aws": {"Timestamp": 1_700_000_000_000_i64, "CloudWatchMetrics": [{
                    "Namespace": "Headwater", "Dimensions": dimensions,
                    "Metrics": [{"Name": "RunsFailed", "Unit": "Count"}, {"Name": "RunSeconds", "Unit": "Seconds"}],
                }]},
            }),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn more_numbers_than_an_object_may_hold_go_into_several() {
        let many = vec![metric(MetricName::TableRows, 2.0, Some("seed_hudi")); 250];
        let found = objects("lake", Timestamp(0), &many);
        let sizes: Vec<usize> = found
            .iter()
            .map(|object| object["TableRows"].as_array().map_or(0, Vec::len))
            .collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
