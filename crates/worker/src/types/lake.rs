//! The columns that the lake adds to those of a table, in loads and change files.

use pipeline::config::table::ORDERING_COLUMN;

/// What became of the row: `I`, `U` or `D`.
pub const OP: &str = "Op";
/// The number of the change, by which all are ordered.
pub const TRX_SEQ: &str = ORDERING_COLUMN;
pub const IS_DELETED: &str = "_hoodie_is_deleted";

/// The lake's own column that a name cannot be told from: Spark does not tell names in another case apart.
pub fn lake_column(name: &str) -> Option<&'static str> {
    [OP, TRX_SEQ, IS_DELETED]
        .into_iter()
        .find(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_the_lakes_own_in_any_case() {
        assert_eq!(lake_column("OP"), Some(OP));
        assert_eq!(lake_column("trx_seq"), Some(TRX_SEQ));
        assert_eq!(lake_column("_Hoodie_Is_Deleted"), Some(IS_DELETED));
        assert_eq!(lake_column("operation"), None);
    }
}
