//! The sort key `config` of an item: what the item is about.

use crate::path::TableName;
use crate::plan::PipelineKind;
use crate::problem::nearest;
use std::fmt;
use std::str::FromStr;

/// Longest name of a custom pipeline, a custom step or an identifier, in characters.
pub const NAME_CHARACTERS_MAX: usize = 100;

/// What an item is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKey {
    /// `database::config`
    Database,
    /// `pipeline::system::<pipeline>` or `pipeline::custom::<pipeline>`
    Pipeline(PipelineName),
    /// `step::system::<schema>.<table>`
    Table(TableName),
    /// `step::<custom pipeline>::<step>`
    Script { pipeline: Name, step: Name },
    /// `generation::config`: the digest of the other items, which `import` writes last.
    Generation,
}

/// A pipeline of an identifier, as people type it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PipelineName {
    JdbcLoad,
    SeedHudi,
    IncrementalHudi,
    ContinuousHudi,
    Custom(Name),
}

/// A name that a person gave to a custom pipeline, a step or an identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is not a key or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("is not a form of `config`: {0}")]
    Form(String),
    /// A key of an older dialect.
    #[error("is a key of an older dialect: {0}")]
    Older(String),
    #[error("names no table as `<schema>.<table>`: {0}")]
    Table(String),
    #[error("uses the reserved name `{0}`")]
    Reserved(String),
    #[error("has a name that {reason}: {name}")]
    Name { name: String, reason: &'static str },
}

/// Names of the system pipelines, in the order in which they run.
pub const SYSTEM_PIPELINES: [PipelineName; 4] = [
    PipelineName::JdbcLoad,
    PipelineName::SeedHudi,
    PipelineName::IncrementalHudi,
    PipelineName::ContinuousHudi,
];

impl PipelineName {
    pub fn as_str(&self) -> &str {
        match self {
            Self::JdbcLoad => "jdbc_load",
            Self::SeedHudi => "seed_hudi",
            Self::IncrementalHudi => "incremental_hudi",
            Self::ContinuousHudi => "continuous_hudi",
            Self::Custom(name) => name.as_str(),
        }
    }

    pub fn kind(&self) -> PipelineKind {
        match self {
            Self::JdbcLoad => PipelineKind::JdbcLoad,
            Self::SeedHudi => PipelineKind::SeedHudi,
            Self::IncrementalHudi => PipelineKind::IncrementalHudi,
            Self::ContinuousHudi => PipelineKind::ContinuousHudi,
            Self::Custom(_) => PipelineKind::Custom,
        }
    }

    fn system(text: &str) -> Option<Self> {
        SYSTEM_PIPELINES
            .into_iter()
            .find(|name| name.as_str() == text)
    }
}

impl FromStr for PipelineName {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        match Self::system(text) {
            Some(name) => Ok(name),
            None => Name::custom(text).map(Self::Custom),
        }
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that is none of the system's.
    fn custom(text: &str) -> Result<Self, BadKey> {
        if text == "system" || PipelineName::system(text).is_some() {
            return Err(BadKey::Reserved(text.to_owned()));
        }
        text.parse()
    }
}

impl FromStr for Name {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let reason = if text.is_empty() {
            "is empty"
        } else if text.starts_with('-') {
            "begins with `-`"
        } else if text.trim() != text {
            "begins or ends with a blank"
        } else if text.contains(':') || text.contains('/') {
            "contains `:` or `/`"
        } else if text.chars().any(char::is_control) {
            "contains a control character"
        } else if text.chars().count() > NAME_CHARACTERS_MAX {
            "is longer than 100 characters"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(BadKey::Name {
            name: text.escape_debug().to_string(),
            reason,
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `<schema>.<table>`. A schema with a dot is quoted as in SQL (`"my.schema".orders`); everything after the dot is the table.
pub fn parse_table(text: &str) -> Result<TableName, BadKey> {
    let bad = || BadKey::Table(text.escape_debug().to_string());
    let (schema, table) = match text.strip_prefix('"') {
        Some(rest) => quoted(rest).ok_or_else(bad)?,
        None => {
            let (schema, table) = text.split_once('.').ok_or_else(bad)?;
            (schema.to_owned(), table)
        }
    };
    if schema.is_empty() || table.is_empty() || text.chars().any(char::is_control) {
        return Err(bad());
    }
    Ok(TableName {
        schema,
        table: table.to_owned(),
    })
}

/// The text up to the closing quote, doubled quotes undone, and what follows the dot behind it.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = rest.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match (c, characters.peek()) {
            ('"', Some((_, '"'))) => {
                name.push('"');
                characters.next();
            }
            ('"', _) => return rest[at + 1..].strip_prefix('.').map(|table| (name, table)),
            (c, _) => name.push(c),
        }
    }
    None
}

/// The inverse of `parse_table`.
pub fn print_table(table: &TableName) -> String {
    if table.schema.contains('.') || table.schema.starts_with('"') {
        format!("\"{}\".{}", table.schema.replace('"', "\"\""), table.table)
    } else {
        table.to_string()
    }
}

impl FromStr for ConfigKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        match text {
            "database::config" => return Ok(Self::Database),
            "generation::config" => return Ok(Self::Generation),
            _ => {}
        }
        if text.starts_with("pipeline::config::")
            || text.starts_with("emr::config::")
            || text.starts_with("table::")
        {
            return Err(BadKey::Older(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix("pipeline::system::") {
            return PipelineName::system(name)
                .map(Self::Pipeline)
                .ok_or_else(|| BadKey::Form(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix("pipeline::custom::") {
            return Name::custom(name).map(|name| Self::Pipeline(PipelineName::Custom(name)));
        }
        if let Some(table) = text.strip_prefix("step::system::") {
            return parse_table(table).map(Self::Table);
        }
        match text
            .strip_prefix("step::")
            .and_then(|rest| rest.split_once("::"))
        {
            Some((pipeline, step)) => Ok(Self::Script {
                pipeline: Name::custom(pipeline)?,
                step: step.parse()?,
            }),
            None => Err(BadKey::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("database::config"),
            Self::Generation => f.write_str("generation::config"),
            Self::Pipeline(PipelineName::Custom(name)) => write!(f, "pipeline::custom::{name}"),
            Self::Pipeline(name) => write!(f, "pipeline::system::{name}"),
            Self::Table(table) => write!(f, "step::system::{}", print_table(table)),
            Self::Script { pipeline, step } => write!(f, "step::{pipeline}::{step}"),
        }
    }
}

impl BadKey {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            Self::Form(text) => format!("the nearest valid form is `{}`", nearest_form(text)),
            Self::Older(_) => "`headwater migrate` rewrites it".to_owned(),
            Self::Table(_) => "the form is `step::system::<schema>.<table>`".to_owned(),
            Self::Reserved(_) => {
                "choose another name: the four system pipelines and `system` are reserved"
                    .to_owned()
            }
            Self::Name { .. } => {
                "letters, digits, `_`, `-`, `.` and blanks inside are fine".to_owned()
            }
        }
    }
}

/// The form that a misspelt key is closest to, with as much of the key as could be kept.
fn nearest_form(text: &str) -> String {
    let parts: Vec<&str> = text.split("::").collect();
    let first = nearest(parts[0], ["database", "pipeline", "step"]);
    match (first, parts.as_slice()) {
        (Some("database"), _) => "database::config".to_owned(),
        (Some("pipeline"), [_, name]) | (Some("pipeline"), [_, "system", name]) => {
            let known = SYSTEM_PIPELINES;
            match nearest(name, known.iter().map(PipelineName::as_str)) {
                Some(name) => format!("pipeline::system::{name}"),
                None => format!("pipeline::custom::{name}"),
            }
        }
        (Some("pipeline"), [_, .., name]) => format!("pipeline::custom::{name}"),
        (Some("step"), [_, table]) if table.contains('.') => format!("step::system::{table}"),
        (Some("step"), _) => "step::<custom pipeline>::<step>".to_owned(),
        _ if text.contains('.') && parts.len() == 1 => format!("step::system::{text}"),
        _ => "step::system::<schema>.<table>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_key() -> impl Strategy<Value = ConfigKey> {
        let name = "[A-Za-z0-9_.é][A-Za-z0-9_. -]{0,12}[A-Za-z0-9]"
            .prop_filter_map("a custom name", |text| Name::custom(&text).ok());
        let table = ("[^\\p{Cc}]{1,8}", "[^\\p{Cc}]{1,12}")
            .prop_map(|(schema, table)| TableName { schema, table });
        prop_oneof![
            Just(ConfigKey::Database),
            Just(ConfigKey::Generation),
            (0..4usize).prop_map(|n| ConfigKey::Pipeline(SYSTEM_PIPELINES[n].clone())),
            name.clone()
                .prop_map(|name| ConfigKey::Pipeline(PipelineName::Custom(name))),
            table.prop_map(ConfigKey::Table),
            (name.clone(), name).prop_map(|(pipeline, step)| ConfigKey::Script { pipeline, step }),
        ]
    }

    proptest! {
        #[test]
        fn a_key_survives_printing_and_parsing(key in any_key()) {
            prop_assert_eq!(key.to_string().parse::<ConfigKey>(), Ok(key));
        }

        #[test]
        fn a_text_that_parses_prints_as_it_was(text in "(database::config|(pipeline|step)::(system|custom|x)::[a-z_.\"]{1,9})") {
            if let Ok(key) = text.parse::<ConfigKey>() {
                let again: ConfigKey = key.to_string().parse().unwrap();
                prop_assert_eq!(again, key);
            }
        }
    }

    #[test]
    fn a_bad_key_is_told_with_the_nearest_form() {
        for (text, message, hint) in [
            (
                "table::public.orders",
                "is a key of an older dialect: table::public.orders",
                "`headwater migrate` rewrites it",
            ),
            (
                "pipeline::system::sed_hudi",
                "is not a form of `config`: pipeline::system::sed_hudi",
                "the nearest valid form is `pipeline::system::seed_hudi`",
            ),
            (
                "pipline::custom::revenue",
                "is not a form of `config`: pipline::custom::revenue",
                "the nearest valid form is `pipeline::custom::revenue`",
            ),
            (
                "step::system::orders",
                "names no table as `<schema>.<table>`: orders",
                "the form is `step::system::<schema>.<table>`",
            ),
            (
                "pipeline::custom::jdbc_load",
                "uses the reserved name `jdbc_load`",
                "choose another name: the four system pipelines and `system` are reserved",
            ),
            (
                "public.orders",
                "is not a form of `config`: public.orders",
                "the nearest valid form is `step::system::public.orders`",
            ),
            (
                "step::nightly::-rf",
                "has a name that begins with `-`: -rf",
                "letters, digits, `_`, `-`, `.` and blanks inside are fine",
            ),
        ] {
            let error = text.parse::<ConfigKey>().unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint(), hint);
        }
    }
}
