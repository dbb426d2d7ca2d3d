//! `step::<custom pipeline>::<step>`: one script of a custom pipeline.

use super::pipeline::ENGINES;
use super::safety::{self, OptOuts};
use crate::plan::Engine;
use crate::problem::{Found, Problem};
use crate::value::Fields;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStep {
    pub enabled: bool,
    /// The script, then its arguments.
    pub entrypoint: Vec<String>,
    pub spark_conf: BTreeMap<String, String>,
    /// Steps of the same pipeline that must be done first.
    pub after: Vec<String>,
    /// Table paths, as written.
    pub writes: Vec<String>,
    pub engine: Option<Engine>,
}

/// Attributes of the item.
pub const KNOWN: &[&str] = &[
    "identifier",
    "config",
    "enabled",
    "entrypoint",
    "spark_conf",
    "after",
    "writes",
    "engine",
];
/// Zones that a script may write; the runtime zone is ours.
pub const WRITABLE_ZONES: [&str; 3] = ["bronze", "silver", "gold"];

pub fn parse(
    key: &str,
    map: &Map<String, Value>,
    opt_outs: &OptOuts,
    problems: &mut Vec<Problem>,
) -> Option<ScriptStep> {
    let fields = Fields::open(key, "", map, KNOWN, problems);
    fields.require("enabled", "`true` or `false`", problems);
    let enabled = fields.boolean("enabled", problems);
    let entrypoint = entrypoint(&fields, problems);
    let spark_conf = fields.texts_by_name("spark_conf", problems);
    safety::check_spark_conf(key, "spark_conf.", &spark_conf, opt_outs, problems);
    let after = fields.texts("after", problems).unwrap_or_default();
    let writes = writes(&fields, problems);
    let engine = fields.choice("engine", &ENGINES, problems);
    Some(ScriptStep {
        enabled: enabled?,
        entrypoint: entrypoint.unwrap_or_default(),
        spark_conf,
        after,
        writes,
        engine,
    })
}

fn entrypoint(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    fields.require(
        "entrypoint",
        "a list: the script, then its arguments",
        problems,
    );
    let parts = fields.texts("entrypoint", problems)?;
    let path = fields.path("entrypoint");
    let Some(script) = parts.first() else {
        problems.push(
            Problem::new(
                fields.key,
                path,
                Found::Empty,
                "a list: the script, then its arguments",
            )
            .hint("for example `[\"revenue.py\", \"--days\", \"7\"]`"),
        );
        return None;
    };
    if script.starts_with('-') {
        problems.push(
            Problem::fault(fields.key, format!("{path}.0"), "begins with `-`")
                .hint("the script comes first, its arguments follow"),
        );
        return None;
    }
    if script.split('/').any(|part| part == "..") {
        problems.push(
            Problem::fault(
                fields.key,
                format!("{path}.0"),
                "leads out of its folder by `..`",
            )
            .hint("name a script below the folder of the deployment's `jobs`, or a whole URI"),
        );
        return None;
    }
    Some(parts)
}

/// `<zone>/<path>`, or a whole URI; whether a URI lies in the identifier's zones is known to the plan only.
fn writes(fields: &Fields, problems: &mut Vec<Problem>) -> Vec<String> {
    let paths = fields.texts("writes", problems).unwrap_or_default();
    for (n, path) in paths.iter().enumerate() {
        if let Some(fault) = bad_path(path) {
            let place = format!("{}.{n}", fields.path("writes"));
            problems.push(
                Problem::fault(fields.key, place, format!("{fault}: {path}"))
                    .hint("write `<zone>/<table>`, for example `gold/revenue`"),
            );
        }
    }
    paths
}

fn bad_path(path: &str) -> Option<&'static str> {
    let trimmed = path.trim_end_matches('/');
    let raw = match trimmed.split_once("://") {
        Some((_, raw)) => raw,
        None => {
            let (zone, below) = trimmed.split_once('/').unwrap_or((trimmed, ""));
            if !WRITABLE_ZONES.contains(&zone) {
                return Some("does not begin with `bronze/`, `silver/` or `gold/`");
            }
            if below.is_empty() {
                return Some("names a whole zone");
            }
            below
        }
    };
    let odd = |part: &str| part == "." || part == "..";
    let local = raw.strip_prefix('/').unwrap_or(raw);
    if local.split('/').any(|part| part.is_empty() || odd(part)) {
        return Some("has an empty segment, `.` or `..`");
    }
    None
}
