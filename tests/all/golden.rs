//! The clusters of the golden plans: every shape of RunJobFlow that planning is shown to make.

use crate::programs::root;
use pipeline::plan::ClusterSpec;
use serde_json::Value;
use std::collections::BTreeMap;

/// The cluster of each golden plan for AWS, by the plan's name.
pub fn clusters() -> BTreeMap<String, ClusterSpec> {
    let folder = root().join("crates/pipeline/tests/golden");
    let files = std::fs::read_dir(&folder).expect("there are golden plans");
    files
        .map(|file| file.expect("the folder can be read").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix("_aws.snap")?;
            let text = std::fs::read_to_string(&path).expect("it can be read");
            Some((name.to_owned(), cluster(&text)))
        })
        .collect()
}

/// The cluster of one of them.
pub fn cluster_of(name: &str) -> ClusterSpec {
    clusters()
        .remove(name)
        .unwrap_or_else(|| panic!("there is no golden plan `{name}_aws`"))
}

/// The plan comes after the snapshot's own head.
fn cluster(snapshot: &str) -> ClusterSpec {
    let (_, plan) = snapshot.split_once("\n---\n").expect("a snapshot");
    let plan: Value = serde_json::from_str(plan).expect("a golden plan is JSON");
    serde_json::from_value(plan["cluster"].clone()).expect("a golden plan has a cluster")
}
