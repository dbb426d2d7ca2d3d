//! How a Postgres type is carried into Parquet: one table for the load, for capture and for `docs/data-types.md`.
//! Values arrive as COPY binary (`ColumnBuilder::append_binary`) or as Postgres's own text (`append_text`), with the same effect.

mod table;
mod column;
mod binary;
mod text;
mod array_json;
mod lake;
#[cfg(test)]
mod document;

pub use column::{BadValue, ColumnBuilder};
pub use lake::{IS_DELETED, OP, TRX_SEQ, lake_column};
pub use table::{BUILT_IN, BuiltIn, Rule, markdown};

use crate::failure::Failure;
use arrow::datatypes::{DataType, TimeUnit};

/// What the catalogue says of a column's type, with domains undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFacts {
    /// `typname` of the type below all domains.
    pub name: String,
    pub kind: TypeKind,
    /// `atttypmod`, or that of the domain; -1 when there is none.
    pub modifier: i32,
    /// The type's output function, quoted and with its schema.
    pub output: String,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// A base or range type of `pg_catalog`.
    BuiltIn,
    Enum,
    /// An array, with its element's type and the character between elements.
    Array {
        element: Box<TypeFacts>,
        delimiter: char,
    },
    /// A composite type, a range, or a type that an extension brought.
    Other,
    Pseudo,
}

/// How a column is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    /// Microseconds without a zone.
    Timestamp,
    /// Microseconds in UTC.
    TimestampUtc,
    Binary,
    Text(TextForm),
    /// An array as JSON text.
    Array(ArrayForm),
}

/// How the text of a value is got from COPY binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// The binary form is the text.
    Plain,
    /// A version byte, then the text.
    Versioned,
    /// 16 bytes, written as hexadecimal digits with dashes.
    Uuid,
    /// The server is asked for its own text.
    FromServer,
}

/// How an array becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayForm {
    pub element: ElementForm,
    pub delimiter: char,
}

/// How an element of an array is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementForm {
    /// A JSON number; NaN and infinities are strings.
    Number,
    Boolean,
    /// The element is JSON itself.
    Json,
    String,
}

/// Digits of the widest decimal of Parquet and Arrow in 128 bits.
pub const DECIMAL_DIGITS_MAX: i32 = 38;

/// Why a type cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unsupported {
    pub reason: &'static str,
}

impl Unsupported {
    /// As a failure that names the column and its type.
    pub fn failure(&self, table: &str, column: &str, shown_type: &str) -> Failure {
        Failure::new(
            "TypeUnsupported",
            format!("column `{column}` of `{table}` has a type that cannot be carried: `{shown_type}`, {}", self.reason),
        )
        .hint(format!(
            "change the column's type in the source, for example `ALTER TABLE … ALTER COLUMN … TYPE text`, or drop `{column}`"
        ))
    }
}

/// How a column of this type is carried, or why it cannot be.
pub fn carried(facts: &TypeFacts) -> Result<Carried, Unsupported> {
    match &facts.kind {
        TypeKind::BuiltIn => built_in(facts),
        TypeKind::Enum => Ok(Carried::Text(TextForm::Plain)),
        TypeKind::Array { element, delimiter } => Ok(Carried::Array(ArrayForm {
            element: element_form(element)?,
            delimiter: *delimiter,
        })),
        TypeKind::Other => Ok(Carried::Text(TextForm::FromServer)),
        TypeKind::Pseudo => Err(Unsupported {
            reason: "a pseudo-type has no values of its own",
        }),
    }
}

fn built_in(facts: &TypeFacts) -> Result<Carried, Unsupported> {
    let Some(row) = table::find(&facts.name) else {
        // A type that a later Postgres brought: its text is right whatever it is.
        return Ok(Carried::Text(TextForm::FromServer));
    };
    match row.rule {
        Rule::Numeric => Ok(numeric(facts.modifier)),
        Rule::As(ref carried) => Ok(carried.clone()),
        Rule::Refused(reason) => Err(Unsupported { reason }),
    }
}

/// A modifier holds the precision and an 11-bit scale, which may be negative, above a header of four.
fn numeric(modifier: i32) -> Carried {
    let precision = modifier.wrapping_sub(4) >> 16;
    let scale = ((modifier.wrapping_sub(4) & 0x7ff) ^ 1024) - 1024;
    if modifier >= 4 && precision <= DECIMAL_DIGITS_MAX && (0..=precision).contains(&scale) {
        Carried::Decimal {
            precision: precision as u8,
            scale: scale as i8,
        }
    } else {
        Carried::Text(TextForm::FromServer)
    }
}

fn element_form(element: &TypeFacts) -> Result<ElementForm, Unsupported> {
    let carried = carried(element)?;
    let is_json =
        element.kind == TypeKind::BuiltIn && matches!(element.name.as_str(), "json" | "jsonb");
    let is_numeric = element.kind == TypeKind::BuiltIn && element.name == "numeric";
    Ok(match carried {
        Carried::Boolean => ElementForm::Boolean,
        Carried::Int32 | Carried::Int64 | Carried::Float32 | Carried::Float64 => {
            ElementForm::Number
        }
        _ if is_numeric => ElementForm::Number,
        _ if is_json => ElementForm::Json,
        _ => ElementForm::String,
    })
}

impl Carried {
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Binary => DataType::Binary,
            Self::Text(_) | Self::Array(_) => DataType::Utf8,
        }
    }

    /// What the load selects for a column so that `append_binary` understands it. `column` is quoted.
    pub fn selected(&self, column: &str, facts: &TypeFacts) -> String {
        match self {
            Self::Text(TextForm::FromServer) | Self::Array(_) => {
                format!("pg_catalog.textin({}({column}))", facts.output)
            }
            _ => column.to_owned(),
        }
    }
}
