//! What a table takes on disk, told to the reader of a report: old versions of files stay, because nothing removes them.

use crate::hudi::Size;
use pipeline::plan::TableWork;

/// So many times what is live may be stored before a new generation is worth its making.
const STORED_PER_LIVE_MAX: u64 = 5;
/// Less than this is never worth it.
const STORED_TOLD_MIN: u64 = 64 << 20;

/// One line: bytes stored and live, with what helps where it is too much.
pub fn space(work: &TableWork, size: &Size) -> String {
    let mut line = format!(
        "stored {}, live {}",
        bytes(size.stored_bytes),
        bytes(size.live_bytes)
    );
    let most = size.live_bytes.saturating_mul(STORED_PER_LIVE_MAX);
    if size.stored_bytes > most.max(STORED_TOLD_MIN) {
        line += &format!(
            ", more than {STORED_PER_LIVE_MAX} times as much; hint: {}",
            work.reload()
        );
    }
    line
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x2800 => format!("{bytes} bytes"),
        0x2800..0xA0_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silver::testbed::Lake;

    #[test]
    fn a_table_that_is_mostly_old_versions_of_files_says_what_helps() {
        let work = Lake::new().work;
        let told = |stored_bytes, live_bytes| {
            let size = Size {
                stored_bytes,
                live_bytes,
                ..Size::default()
            };
            space(&work, &size)
        };
        assert_eq!(told(900, 0), "stored 900 bytes, live 0 bytes");
        assert_eq!(told(60 << 10, 11 << 10), "stored 60 KiB, live 11 KiB");
        assert_eq!(told(500 << 20, 100 << 20), "stored 500 MiB, live 100 MiB");
        assert_eq!(
            told(501 << 20, 100 << 20),
            "stored 501 MiB, live 100 MiB, more than 5 times as much; hint: headwater reload --identifier shop public.orders"
        );
    }
}
