//! What is written where: data to stdout, talk to stderr. A reader that went away ends the writing quietly.

use crate::context::Trouble;
use indicatif::MultiProgress;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

/// Bars on the terminal, which make room for lines.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Whether anybody still reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

/// From here on lines are written around these bars.
pub fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

fn around_bars<T>(write: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Data, as it is.
pub fn data(text: &str) -> Result<Reader, Trouble> {
    let written = around_bars(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Trouble::failed(format!(
            "stdout cannot be written: {error}"
        ))),
    }
}

/// Data as JSON.
pub fn json(value: &Value) -> Result<Reader, Trouble> {
    data(&format!("{value:#}\n"))
}

/// A line for a person. Where nobody reads stderr it is lost.
pub fn say(line: &str) {
    around_bars(|| {
        let _ = writeln!(io::stderr().lock(), "{line}");
    });
}

/// Whether talk may move and be coloured.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && is_capable()
}

fn is_capable() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether talk may be coloured.
pub fn stderr_is_coloured() -> bool {
    stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Rows under their titles, columns aligned by two blanks.
pub fn columns(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&mut titles.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// How long something took, as a person says it.
pub fn duration(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match seconds {
        0..60 => format!("{}.{} s", seconds, milliseconds.max(0) % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Rows a second; `None` where the time is too short to tell.
pub fn rate(rows: u64, milliseconds: i64) -> Option<u64> {
    let milliseconds = u64::try_from(milliseconds).ok().filter(|time| *time > 0)?;
    Some(rows.saturating_mul(1000) / milliseconds)
}

/// `1 table`, `2 tables`.
pub fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_read_as_a_person_says_them() {
        for (milliseconds, text) in [
            (-5, "0.0 s"),
            (420, "0.4 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min 00 s"),
            (3_725_000, "1 h 02 min"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
        assert_eq!(rate(500, 250), Some(2000));
        assert_eq!(rate(500, 0), None);
    }

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_blanks() {
        let rows = [
            vec!["public.größe".to_owned(), "1".to_owned()],
            vec!["a".to_owned(), String::new()],
        ];
        assert_eq!(
            columns(&["table", "rows"], &rows),
            "table         rows\npublic.größe  1\na\n"
        );
    }
}
