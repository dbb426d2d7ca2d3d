//! Kill points: places where a test build may be told to die, as `kill -9` would have it.
//!
//! `HEADWATER_KILL_AT=<name>` or `<name>:<n>` makes the process kill itself at the nth passing of that point;
//! `HEADWATER_KILL_LIST=<file>` adds a line `<program>#<process> <name>` to the file at each passing, so that a test can find the points there are.
//! A build without debug assertions has none of this.

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};

    struct Settings {
        kill_at: Option<(String, u64)>,
        list: Option<std::path::PathBuf>,
    }

    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
        kill_at: std::env::var("HEADWATER_KILL_AT")
            .ok()
            .map(|text| parse(&text)),
        list: std::env::var_os("HEADWATER_KILL_LIST").map(Into::into),
    });
    static HITS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

    /// A name, and which passing of it is meant: the first when no number follows.
    pub(super) fn parse(text: &str) -> (String, u64) {
        match text.rsplit_once(':') {
            Some((name, count)) if !name.is_empty() => match count.parse() {
                Ok(count) => (name.to_owned(), count),
                Err(_) => (text.to_owned(), 1),
            },
            _ => (text.to_owned(), 1),
        }
    }

    /// Counts this passing: 1 for the first of its name in this process.
    pub(super) fn count(name: &str) -> u64 {
        let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = hits.entry(name.to_owned()).or_default();
        *hit += 1;
        *hit
    }

    pub(super) fn in_use() -> bool {
        SETTINGS.kill_at.is_some() || SETTINGS.list.is_some()
    }

    pub(super) fn pass(name: &str) {
        let hit = count(name);
        if let Some(list) = &SETTINGS.list {
            append(list, name);
        }
        if let Some((wanted, nth)) = &SETTINGS.kill_at
            && wanted == name
            && *nth == hit
        {
            // SIGKILL to oneself cannot be caught; the loop only waits for it to arrive.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
            loop {
                std::thread::park();
            }
        }
    }

    /// One write in append mode, so that lines of several processes do not mix.
    fn append(list: &std::path::Path, name: &str) {
        let program = std::env::current_exe().ok();
        let program = program
            .as_deref()
            .and_then(|path| path.file_name())
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let process = std::process::id();
        let opened = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(list);
        if let Ok(mut file) = opened {
            let _ = file.write_all(format!("{program}#{process} {name}\n").as_bytes());
        }
    }
}

/// Whether points are killed at or listed, so that those worth nothing else need not be looked for.
pub fn in_use() -> bool {
    #[cfg(debug_assertions)]
    return armed::in_use();
    #[cfg(not(debug_assertions))]
    false
}

/// A place where this process may be told to die. Free in release builds.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Like `point`, for a name that is costly to make.
#[inline]
pub fn point_with(name: impl FnOnce() -> String) {
    #[cfg(debug_assertions)]
    armed::pass(&name());
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{count, parse};

    #[test]
    fn a_point_is_named_with_or_without_its_passing() {
        for (text, name, nth) in [
            ("load.mid-copy", "load.mid-copy", 1),
            ("load.mid-copy:3", "load.mid-copy", 3),
            ("ledger.before.run/run", "ledger.before.run/run", 1),
            ("odd:name", "odd:name", 1),
        ] {
            assert_eq!(parse(text), (name.to_owned(), nth), "{text}");
        }
    }

    #[test]
    fn passings_are_counted_by_name() {
        assert_eq!([count("one"), count("one"), count("other")], [1, 2, 1]);
    }
}
