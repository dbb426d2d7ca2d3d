//! A table in pieces by row address. Pure.

use crate::source::{Reach, Stored, Table, quoted, quoted_table};
use crate::types::Carried;

/// Pages of a piece at least: a piece costs a round trip.
pub const SLICE_PAGES_MIN: u64 = 512;
/// Pieces per connection, so that all end at about the same time however rows are spread.
const SLICES_PER_CONNECTION: u64 = 8;

/// The COPY of each piece. The last piece of a table is open: rows may have come after its pages were counted.
pub fn statements(
    table: &Table,
    carried: &[Carried],
    connections: u32,
    pages_min: u64,
) -> Vec<String> {
    let columns = selected(table, carried);
    match &table.reach {
        Reach::Whole => vec![copy(&columns, &quoted_table(&table.name), "")],
        Reach::Pages(parts) => {
            let pages = parts.iter().filter_map(|part| part.pages).sum::<u64>();
            let wanted = (pages / (u64::from(connections) * SLICES_PER_CONNECTION))
                .max(pages_min)
                .max(1);
            parts
                .iter()
                .flat_map(|part| part_statements(part, &columns, wanted))
                .collect()
        }
    }
}

fn part_statements(part: &Stored, columns: &str, pages_wanted: u64) -> Vec<String> {
    let Some(pages) = part.pages else {
        return vec![copy(columns, &quoted_table(&part.name), "")];
    };
    // Rows of tables that inherit from it are pieces of their own.
    let from = format!("ONLY {}", quoted_table(&part.name));
    let count = (pages / pages_wanted).max(1);
    (0..count)
        .map(|number| {
            let first = pages * number / count;
            let after = pages * (number + 1) / count;
            let range = match (number, number + 1 == count) {
                (0, true) => String::new(),
                (_, true) => format!(" WHERE ctid >= '({first},0)'"),
                (_, false) => format!(" WHERE ctid >= '({first},0)' AND ctid < '({after},0)'"),
            };
            copy(columns, &from, &range)
        })
        .collect()
}

fn selected(table: &Table, carried: &[Carried]) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .zip(carried)
        .map(|(column, carried)| carried.selected(&quoted(&column.name), &column.facts))
        .collect();
    columns.join(", ")
}

fn copy(columns: &str, from: &str, range: &str) -> String {
    format!("COPY (SELECT {columns} FROM {from}{range}) TO STDOUT (FORMAT binary)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::path::TableName;

    fn part(pages: Option<u64>) -> Stored {
        Stored {
            name: TableName {
                schema: "public".to_owned(),
                table: "t".to_owned(),
            },
            pages,
        }
    }

    fn ranges(pages: Option<u64>, wanted: u64) -> Vec<String> {
        let before = "COPY (SELECT a FROM ";
        let after = ") TO STDOUT (FORMAT binary)";
        part_statements(&part(pages), "a", wanted)
            .iter()
            .map(|text| {
                text.strip_prefix(before)
                    .unwrap()
                    .strip_suffix(after)
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn pieces_meet_and_the_last_is_open() {
        assert_eq!(ranges(None, 10), ["\"public\".\"t\""]);
        assert_eq!(ranges(Some(0), 10), ["ONLY \"public\".\"t\""]);
        assert_eq!(ranges(Some(19), 10), ["ONLY \"public\".\"t\""]);
        assert_eq!(
            ranges(Some(31), 10),
            [
                "ONLY \"public\".\"t\" WHERE ctid >= '(0,0)' AND ctid < '(10,0)'",
                "ONLY \"public\".\"t\" WHERE ctid >= '(10,0)' AND ctid < '(20,0)'",
                "ONLY \"public\".\"t\" WHERE ctid >= '(20,0)'",
            ]
        );
    }
}
