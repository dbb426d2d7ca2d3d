//! Items of older dialects in the present form. What cannot be decided here is told, not guessed.

use crate::config::pipeline::{KNOWN_EMR, release_fault};
use crate::key::{ConfigKey, PipelineName};
use crate::normal::{BOOLEANS, GENERATION_KEY, normalise};
use crate::problem::shown;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Items in the present form, and what was done to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// In normal form.
    pub items: Vec<Value>,
    pub rewritten: Vec<Note>,
    /// What a person must decide.
    pub look_at: Vec<Note>,
}

/// Something about one attribute of one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    pub identifier: String,
    pub key: String,
    /// The attribute, with dots.
    pub path: String,
    /// A predicate: `was …`.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            identifier,
            key,
            path,
            text,
        } = self;
        write!(f, "{identifier} {key}: `{path}` {text}")
    }
}

/// The name of `jdbc_load` in the oldest items.
const OLD_LOAD: &str = "full_load";
const OLD_CLUSTER: &str = "emr::config::";

/// Rewrites items. Releases that cannot be planned become `release_label`, where one is given; attributes that nobody knows
/// stay, so that `check` reports them. Items that are right stay as they are: migrating twice is migrating once.
pub fn migrate(items: &[Value], release_label: Option<&str>) -> Migrated {
    let mut migrated = Migrated::default();
    let mut kept: Vec<Map<String, Value>> = Vec::new();
    let mut clusters = Vec::new();
    for item in items {
        match item {
            Value::Object(map) if text(map, "config").starts_with(OLD_CLUSTER) => {
                clusters.push(map.clone());
            }
            Value::Object(map) if text(map, "config") == GENERATION_KEY => {
                migrated.rewritten(map, "generation", "was left out: `import` writes it");
            }
            Value::Object(map) => kept.push(with_present_key(map, &mut migrated)),
            other => migrated.items.push(other.clone()),
        }
    }
    for cluster in clusters {
        join_cluster(cluster, &mut kept, &mut migrated);
    }
    for map in &mut kept {
        match text(map, "config") {
            key if key.starts_with("pipeline::") => pipeline(map, release_label, &mut migrated),
            key if key.starts_with("step::system::") => table(map, &mut migrated),
            _ => {}
        }
        booleans(map, &mut migrated);
    }
    migrated.items.extend(kept.into_iter().map(Value::Object));
    migrated.items = once(normalise(&migrated.items), &mut migrated);
    migrated.rewritten.sort();
    migrated.look_at.sort();
    migrated
}

impl Migrated {
    fn rewritten(&mut self, map: &Map<String, Value>, path: &str, text: impl Into<String>) {
        self.rewritten.push(note(map, path, text));
    }

    fn look_at(&mut self, map: &Map<String, Value>, path: &str, text: impl Into<String>) {
        self.look_at.push(note(map, path, text));
    }
}

fn note(map: &Map<String, Value>, path: &str, predicate: impl Into<String>) -> Note {
    Note {
        identifier: text(map, "identifier").to_owned(),
        key: text(map, "config").to_owned(),
        path: path.to_owned(),
        text: predicate.into(),
    }
}

fn text<'a>(map: &'a Map<String, Value>, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `jdbc_load` for the oldest name, every other name as it is.
fn present_name(name: &str) -> &str {
    if name == OLD_LOAD { "jdbc_load" } else { name }
}

/// The key of a pipeline's item; `None` where the name can be no pipeline's.
fn pipeline_key(name: &str) -> Option<String> {
    let name: PipelineName = present_name(name).parse().ok()?;
    Some(ConfigKey::Pipeline(name).to_string())
}

fn present_key(key: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix("pipeline::config::") {
        return pipeline_key(name);
    }
    if key.strip_prefix("pipeline::system::") == Some(OLD_LOAD) {
        return pipeline_key(OLD_LOAD);
    }
    key.strip_prefix("table::")
        .map(|table| format!("step::system::{table}"))
}

fn with_present_key(map: &Map<String, Value>, migrated: &mut Migrated) -> Map<String, Value> {
    let mut map = map.clone();
    let key = text(&map, "config").to_owned();
    if let Some(present) = present_key(&key) {
        map.insert("config".to_owned(), Value::String(present));
        migrated.rewritten(&map, "config", format!("was `{key}`"));
    } else if key.starts_with("pipeline::config::") {
        migrated.look_at(&map, "config", "names no pipeline");
    }
    map
}

/// Cluster settings that stand in an item of their own belong into the item of their pipeline.
fn join_cluster(
    mut cluster: Map<String, Value>,
    kept: &mut Vec<Map<String, Value>>,
    migrated: &mut Migrated,
) {
    let old = text(&cluster, "config").to_owned();
    let name = old.strip_prefix(OLD_CLUSTER).unwrap_or_default();
    let Some(key) = pipeline_key(name) else {
        migrated.look_at(&cluster, "config", "names no pipeline");
        kept.push(cluster);
        return;
    };
    let identifier = cluster.get("identifier").cloned();
    let own = |map: &Map<String, Value>| {
        map.get("identifier") == identifier.as_ref() && text(map, "config") == key
    };
    // Of items of one key each counts: which of them is the right one is not ours to say.
    let odd = |map: &&Map<String, Value>| {
        own(map) && map.get("emr_config").is_some_and(|emr| !emr.is_object())
    };
    if let Some(pipeline) = kept.iter().find(odd) {
        migrated.look_at(
            pipeline,
            "emr_config",
            format!("is no object: `{old}` stays"),
        );
        kept.push(cluster);
        return;
    }
    let at = kept.iter().position(own).unwrap_or_else(|| {
        let names = identifier.iter().map(|value| ("identifier", value.clone()));
        let names = names.chain([("config", Value::String(key.clone()))]);
        kept.push(
            names
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        );
        migrated.rewritten(
            &kept[kept.len() - 1],
            "config",
            format!("is new, for `{old}`"),
        );
        kept.len() - 1
    });
    let pipeline = &mut kept[at];
    cluster.remove("identifier");
    cluster.remove("config");
    // Some write the settings below a name of their own.
    if let Some(Value::Object(below)) = cluster.remove("emr_config") {
        cluster.extend(below);
    }
    for (name, value) in cluster {
        let path = format!("emr_config.{name}");
        match settle(pipeline, &name, &value) {
            Settled::Put => migrated.rewritten(pipeline, &path, format!("was in `{old}`")),
            Settled::Same => {}
            Settled::Differs => {
                let other = shown(&path, &value);
                migrated.look_at(pipeline, &path, format!("stays; `{old}` said {other}"));
            }
        }
    }
}

enum Settled {
    Put,
    Same,
    Differs,
}

/// Puts a value into `emr_config`, unless something is there already.
fn settle(pipeline: &mut Map<String, Value>, name: &str, value: &Value) -> Settled {
    let emr = pipeline
        .entry("emr_config")
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(emr) = emr else {
        return Settled::Differs;
    };
    match emr.get(name) {
        Some(there) if there == value => Settled::Same,
        Some(_) => Settled::Differs,
        None => {
            emr.insert(name.to_owned(), value.clone());
            Settled::Put
        }
    }
}

fn pipeline(map: &mut Map<String, Value>, release_label: Option<&str>, migrated: &mut Migrated) {
    for name in KNOWN_EMR {
        let Some(value) = map.get(*name).cloned() else {
            continue;
        };
        match settle(map, name, &value) {
            Settled::Put => {
                migrated.rewritten(map, &format!("emr_config.{name}"), format!("was `{name}`"));
                map.remove(*name);
            }
            Settled::Same => {
                migrated.rewritten(
                    map,
                    name,
                    format!("was removed: `emr_config.{name}` has it"),
                );
                map.remove(*name);
            }
            Settled::Differs => {
                migrated.look_at(map, name, format!("differs from `emr_config.{name}`"));
            }
        }
    }
    rename_pipelines(map, migrated);
    release(map, release_label, migrated);
}

/// Pipelines are named by their name alone.
fn rename_pipelines(map: &mut Map<String, Value>, migrated: &mut Migrated) {
    let mut renamed = Vec::new();
    let mut rename = |path: String, value: &mut Value| {
        let Some(old) = value.as_str().map(str::to_owned) else {
            return;
        };
        let name = [
            "pipeline::config::",
            "pipeline::system::",
            "pipeline::custom::",
        ]
        .iter()
        .find_map(|prefix| old.strip_prefix(prefix))
        .unwrap_or(&old);
        let name = present_name(name);
        if name != old {
            *value = Value::String(name.to_owned());
            renamed.push((path, old));
        }
    };
    if let Some(name) = map
        .get_mut("next_pipeline")
        .and_then(|next| next.get_mut("pipeline_type"))
    {
        rename("next_pipeline.pipeline_type".to_owned(), name);
    }
    if let Some(Value::Array(names)) = map.get_mut("allowed_concurrent") {
        for (n, name) in names.iter_mut().enumerate() {
            rename(format!("allowed_concurrent.{n}"), name);
        }
    }
    for (path, old) in renamed {
        migrated.rewritten(map, &path, format!("was `{old}`"));
    }
}

fn release(map: &mut Map<String, Value>, wanted: Option<&str>, migrated: &mut Migrated) {
    const PATH: &str = "emr_config.release_label";
    let label = map
        .get("emr_config")
        .and_then(|emr| emr.get("release_label"));
    let Some(old) = label.and_then(Value::as_str).map(str::to_owned) else {
        return;
    };
    let Some(fault) = release_fault(&old) else {
        return;
    };
    let Some(wanted) = wanted else {
        let text = format!("{fault}; `--release-label emr-7.13.0` rewrites it");
        return migrated.look_at(map, PATH, text);
    };
    map["emr_config"]["release_label"] = Value::String(wanted.to_owned());
    migrated.rewritten(map, PATH, format!("was `{old}`"));
    let text = "is new: the sizes and `spark_conf` were chosen for an older Spark";
    migrated.look_at(map, PATH, text);
}

fn table(map: &mut Map<String, Value>, migrated: &mut Migrated) {
    if let Some(Value::Object(conf)) = map.get_mut("spark_conf")
        && conf.contains_key(OLD_LOAD)
    {
        if conf.contains_key("jdbc_load") {
            migrated.look_at(
                map,
                "spark_conf.full_load",
                "is the same pipeline as `jdbc_load`",
            );
        } else if let Some(settings) = conf.remove(OLD_LOAD) {
            conf.insert("jdbc_load".to_owned(), settings);
            migrated.rewritten(map, "spark_conf.jdbc_load", "was `spark_conf.full_load`");
        }
    }
    for name in ["op", "table_type"] {
        let value = map
            .get_mut("hudi_config")
            .and_then(|hudi| hudi.get_mut(name));
        let Some(value) = value else {
            continue;
        };
        let old = value.as_str().unwrap_or_default().to_owned();
        let upper = old.to_ascii_uppercase();
        if upper != old {
            *value = Value::String(upper);
            migrated.rewritten(map, &format!("hudi_config.{name}"), format!("was `{old}`"));
        }
    }
}

/// `"True"` and `"False"`, as Python prints them.
fn booleans(map: &mut Map<String, Value>, migrated: &mut Migrated) {
    for path in BOOLEANS {
        let mut parts = path.split('.');
        let first = parts.next().and_then(|name| map.get_mut(name));
        let value = parts
            .try_fold(first, |value, name| Some(value?.get_mut(name)))
            .flatten();
        let Some(value) = value else {
            continue;
        };
        let (old, new) = match value.as_str() {
            Some(text @ ("True" | "TRUE")) => (text.to_owned(), true),
            Some(text @ ("False" | "FALSE")) => (text.to_owned(), false),
            _ => continue,
        };
        *value = Value::Bool(new);
        migrated.rewritten(map, path, format!("was the text `{old}`"));
    }
}

/// Items in normal order; the second of two equal ones is left out, two that differ are told.
fn once(items: Vec<Value>, migrated: &mut Migrated) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        let before = kept.last().and_then(Value::as_object);
        if let (Value::Object(map), Some(before)) = (&item, before) {
            let same_key = ["identifier", "config"]
                .iter()
                .all(|name| map.contains_key(*name) && map.get(*name) == before.get(*name));
            if same_key && map == before {
                migrated.rewritten(map, "config", "was given twice, with one content");
                continue;
            }
            if same_key {
                migrated.look_at(map, "config", "is given twice: keep one of the two");
            }
        }
        kept.push(item);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::json;

    /// Items of all dialects, right and wrong ones, with what may stand in them.
    fn any_item() -> impl Strategy<Value = Value> {
        let keys = [
            "database::config",
            "emr::config::full_load",
            "emr::config::jdbc_load",
            "emr::config::system",
            "generation::config",
            "pipeline::config::full_load",
            "pipeline::config::nightly",
            "pipeline::config::seed_hudi",
            "pipeline::system::jdbc_load",
            "step::system::public.t",
            "table::public.t",
            "table::odd",
        ];
        let attributes = vec![
            (
                "allowed_concurrent",
                json!(["full_load", "pipeline::custom::x", 7]),
            ),
            ("allowed_concurrent", json!("False")),
            (
                "emr_config",
                json!({"release_label": "emr-6.5.0", "worker": {"count": "2"}}),
            ),
            ("emr_config", json!("odd")),
            ("enabled", json!("TRUE")),
            ("enabled", json!("yes")),
            (
                "hudi_config",
                json!({"op": "upsert", "table_type": 3, "is_partitioned": "False"}),
            ),
            ("master", json!({"instance_type": "m5.xlarge"})),
            (
                "next_pipeline",
                json!({"pipeline_type": "pipeline::config::full_load"}),
            ),
            ("odd", json!(null)),
            ("release_label", json!("emr-5.0.0")),
            ("spark_conf", json!({"full_load": {"a": 1}})),
            (
                "spark_conf",
                json!({"full_load": {"a": 1}, "jdbc_load": {}}),
            ),
            ("worker", json!({"count": 3})),
        ];
        let some = subsequence(attributes, 0..6);
        let item = (select(vec!["a", "b"]), select(keys.to_vec()), some).prop_map(
            |(identifier, key, attributes)| {
                let mut item = json!({"identifier": identifier, "config": key});
                for (name, value) in attributes {
                    item[name] = value;
                }
                item
            },
        );
        prop_oneof![20 => item, 1 => Just(json!(7)), 1 => Just(json!({"config": "table::public.t"}))]
    }

    proptest! {
        #[test]
        fn migrating_twice_is_migrating_once(
            items in proptest::collection::vec(any_item(), 0..8),
            label in select(vec![None, Some("emr-7.13.0")]),
        ) {
            let once = migrate(&items, label);
            let twice = migrate(&once.items, label);
            prop_assert_eq!(&twice.items, &once.items);
            prop_assert_eq!(twice.rewritten, []);
        }
    }

    fn notes(notes: &[Note]) -> Vec<String> {
        notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn older_items_take_the_present_form_and_what_was_done_is_told() {
        let database = json!({"identifier": "a", "config": "database::config"});
        for (items, expected, rewritten, look_at) in [
            (
                json!([
                    database,
                    {"identifier": "a", "config": "emr::config::full_load", "release_label": "emr-6.5.0", "step_parallelism": "6",
                        "worker": {"count": "2"}, "odd": 1},
                    {"identifier": "a", "config": "table::public.orders", "enabled": "True",
                        "hudi_config": {"op": "upsert", "odd": 1}, "spark_conf": {"full_load": {"spark.executor.cores": 4}}},
                ]),
                json!([
                    database,
                    {"identifier": "a", "config": "pipeline::system::jdbc_load",
                        "emr_config": {"release_label": "emr-6.5.0", "step_parallelism": 6, "worker": {"count": 2}, "odd": 1}},
                    {"identifier": "a", "config": "step::system::public.orders", "enabled": true,
                        "hudi_config": {"op": "UPSERT", "odd": 1}, "spark_conf": {"jdbc_load": {"spark.executor.cores": 4}}},
                ]),
                vec![
                    "a pipeline::system::jdbc_load: `config` is new, for `emr::config::full_load`",
                    "a pipeline::system::jdbc_load: `emr_config.odd` was in `emr::config::full_load`",
                    "a pipeline::system::jdbc_load: `emr_config.release_label` was in `emr::config::full_load`",
                    "a pipeline::system::jdbc_load: `emr_config.step_parallelism` was in `emr::config::full_load`",
                    "a pipeline::system::jdbc_load: `emr_config.worker` was in `emr::config::full_load`",
                    "a step::system::public.orders: `config` was `table::public.orders`",
                    "a step::system::public.orders: `enabled` was the text `True`",
                    "a step::system::public.orders: `hudi_config.op` was `upsert`",
                    "a step::system::public.orders: `spark_conf.jdbc_load` was `spark_conf.full_load`",
                ],
                vec![
                    "a pipeline::system::jdbc_load: `emr_config.release_label` is older than `emr-7.11.0`, the first with Hudi 1.0.2: emr-6.5.0; `--release-label emr-7.13.0` rewrites it",
                ],
            ),
            (
                json!([
                    {"identifier": "a", "config": "pipeline::config::seed_hudi", "master": {"instance_type": "m5.xlarge"},
                        "emr_config": {"step_parallelism": 4}, "next_pipeline": {"pipeline_type": "pipeline::config::nightly", "enabled": true},
                        "allowed_concurrent": ["full_load"]},
                    {"identifier": "a", "config": "pipeline::config::nightly"},
                    {"identifier": "a", "config": "emr::config::seed_hudi", "step_parallelism": 8, "emr_config": {"worker": {"count": 1}}},
                    {"identifier": "b", "config": "emr::config::system", "worker": {}},
                ]),
                json!([
                    {"identifier": "a", "config": "pipeline::custom::nightly"},
                    {"identifier": "a", "config": "pipeline::system::seed_hudi", "allowed_concurrent": ["jdbc_load"],
                        "emr_config": {"step_parallelism": 4, "worker": {"count": 1}, "master": {"instance_type": "m5.xlarge"}},
                        "next_pipeline": {"pipeline_type": "nightly", "enabled": true}},
                    {"identifier": "b", "config": "emr::config::system", "worker": {}},
                ]),
                vec![
                    "a pipeline::custom::nightly: `config` was `pipeline::config::nightly`",
                    "a pipeline::system::seed_hudi: `allowed_concurrent.0` was `full_load`",
                    "a pipeline::system::seed_hudi: `config` was `pipeline::config::seed_hudi`",
                    "a pipeline::system::seed_hudi: `emr_config.master` was `master`",
                    "a pipeline::system::seed_hudi: `emr_config.worker` was in `emr::config::seed_hudi`",
                    "a pipeline::system::seed_hudi: `next_pipeline.pipeline_type` was `pipeline::config::nightly`",
                ],
                vec![
                    "a pipeline::system::seed_hudi: `emr_config.step_parallelism` stays; `emr::config::seed_hudi` said 8",
                    "b emr::config::system: `config` names no pipeline",
                ],
            ),
            (
                json!([
                    {"identifier": "a", "config": "table::public.t", "enabled": true},
                    {"identifier": "a", "config": "step::system::public.t", "enabled": "true"},
                    {"identifier": "a", "config": "table::public.u", "enabled": true},
                    {"identifier": "a", "config": "step::system::public.u", "enabled": false},
                    {"identifier": "a", "config": "generation::config", "generation": "0"},
                ]),
                json!([
                    {"identifier": "a", "config": "step::system::public.t", "enabled": true},
                    {"identifier": "a", "config": "step::system::public.u", "enabled": false},
                    {"identifier": "a", "config": "step::system::public.u", "enabled": true},
                ]),
                vec![
                    "a generation::config: `generation` was left out: `import` writes it",
                    "a step::system::public.t: `config` was `table::public.t`",
                    "a step::system::public.t: `config` was given twice, with one content",
                    "a step::system::public.u: `config` was `table::public.u`",
                ],
                vec!["a step::system::public.u: `config` is given twice: keep one of the two"],
            ),
        ] {
            let migrated = migrate(items.as_array().unwrap(), None);
            assert_eq!(migrated.items, normalise(expected.as_array().unwrap()));
            assert_eq!(notes(&migrated.rewritten), rewritten);
            assert_eq!(notes(&migrated.look_at), look_at);
            let again = migrate(&migrated.items, None);
            assert_eq!(again.items, migrated.items);
            assert_eq!(again.rewritten, []);
        }
    }

    #[test]
    fn a_release_that_cannot_be_planned_becomes_the_one_asked_for() {
        let item = |label: &str| json!({"identifier": "a", "config": "pipeline::system::seed_hudi", "emr_config": {"release_label": label}});
        for (old, new) in [
            ("emr-6.5.0", "emr-7.13.0"),
            ("emr-7.0.0", "emr-7.13.0"),
            ("emr-7.12.0", "emr-7.12.0"),
        ] {
            let migrated = migrate(&[item(old)], Some("emr-7.13.0"));
            assert_eq!(migrated.items, [normalise(&[item(new)]).remove(0)], "{old}");
            assert_eq!(migrated.look_at.is_empty(), old == new);
        }
    }
}
