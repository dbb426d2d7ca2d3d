//! `database::config`: where the source is, and what the lake tables are called.

use crate::plan::CaptureKind;
use crate::problem::Problem;
use crate::value::Fields;
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Name of the secret, never its value.
    pub secret: String,
    pub target_db_name: String,
    pub target_table_prefix: String,
    pub source_db_name: Option<String>,
    pub capture: CaptureSettings,
    pub capture_silent_minutes: Option<u32>,
    pub clock_skew_minutes: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureSettings {
    pub kind: Option<CaptureKind>,
    pub slot: Option<String>,
    pub task: Option<String>,
}

/// Attributes of the item.
pub const KNOWN: &[&str] = &[
    "identifier",
    "config",
    "secret",
    "target_db_name",
    "target_table_prefix",
    "source_db_name",
    "capture",
    "capture_silent_minutes",
    "clock_skew_minutes",
];
/// Attributes of `capture`.
pub const KNOWN_CAPTURE: &[&str] = &["kind", "slot", "task"];
/// A week: a capture that is silent for longer is dead whatever the schedule.
const SILENT_MINUTES_MAX: u32 = 7 * 24 * 60;
const SKEW_MINUTES_MAX: u32 = 24 * 60;
/// Postgres truncates longer names.
const SLOT_CHARACTERS_MAX: usize = 63;

pub fn parse(key: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) -> Option<Database> {
    let fields = Fields::open(key, "", map, KNOWN, problems);
    fields.require("secret", "the name of a secret", problems);
    fields.require(
        "target_db_name",
        "the Glue database of the lake tables",
        problems,
    );
    fields.require(
        "target_table_prefix",
        "the prefix of the lake tables",
        problems,
    );
    let secret = secret_name(&fields, problems);
    let target_db_name = fields.name("target_db_name", problems);
    let target_table_prefix = fields.name("target_table_prefix", problems);
    let source_db_name = fields.name("source_db_name", problems);
    let capture = capture(&fields, problems);
    let capture_silent_minutes =
        fields.integer("capture_silent_minutes", 1..=SILENT_MINUTES_MAX, problems);
    let clock_skew_minutes = fields.integer("clock_skew_minutes", 0..=SKEW_MINUTES_MAX, problems);
    Some(Database {
        secret: secret?,
        target_db_name: target_db_name?,
        target_table_prefix: target_table_prefix?,
        source_db_name,
        capture,
        capture_silent_minutes,
        clock_skew_minutes,
    })
}

/// A secret's name; a value in its place is refused without being shown.
fn secret_name(fields: &Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let name = fields.name("secret", problems)?;
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "/_+=.@-:".contains(c));
    if name.contains(odd) {
        problems.push(
            Problem::fault(fields.key, "secret", "is not the name of a secret").hint(
                "write the name under which the value is stored: letters, digits and `/_+=.@-`",
            ),
        );
        return None;
    }
    Some(name)
}

fn capture(fields: &Fields, problems: &mut Vec<Problem>) -> CaptureSettings {
    let Some(below) = fields.object("capture", KNOWN_CAPTURE, problems) else {
        return CaptureSettings::default();
    };
    let kinds = [
        ("dms", CaptureKind::Dms),
        ("headwater", CaptureKind::Headwater),
        ("none", CaptureKind::None),
    ];
    CaptureSettings {
        kind: below.choice("kind", &kinds, problems),
        slot: slot(&below, problems),
        task: below.name("task", problems),
    }
}

fn slot(fields: &Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let slot = fields.name("slot", problems)?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if slot.len() > SLOT_CHARACTERS_MAX || !slot.chars().all(fine) {
        problems.push(
            fields
                .wrong(
                    "slot",
                    &Value::String(slot),
                    "the name of a replication slot",
                )
                .hint("lower-case letters, digits and `_`, at most 63 characters"),
        );
        return None;
    }
    Some(slot)
}
