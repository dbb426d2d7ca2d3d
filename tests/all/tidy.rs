//! The rules of this repository that the compiler does not check.

use crate::programs::{output, program, root};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Which crates of ours each crate may use, in tests too.
const ARROWS: &[(&str, &[&str])] = &[
    ("pipeline", &[]),
    ("asl", &[]),
    ("tasks", &["pipeline"]),
    ("sim", &["asl", "pipeline", "tasks"]),
    ("local", &["asl", "pipeline", "tasks"]),
    ("aws", &["pipeline", "tasks"]),
    ("worker", &["aws", "local", "pipeline", "tasks"]),
    ("cli", &["asl", "aws", "local", "pipeline", "sim", "tasks"]),
    (
        "tests",
        &["asl", "aws", "local", "pipeline", "sim", "tasks", "worker"],
    ),
];

/// What the sources of a crate must not name, and why that would be wrong.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "pipeline",
        &[
            "async ",
            "SystemTime",
            "Instant::now",
            "Utc::now",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "tokio",
            "aws_sdk",
        ],
    ),
    (
        "asl",
        &[
            "async ",
            "SystemTime",
            "Instant::now",
            "Utc::now",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "tokio",
            "aws_sdk",
        ],
    ),
    (
        "tasks",
        &[
            "aws_sdk",
            "lambda_runtime",
            "std::env",
            "std::fs",
            "std::process",
            "SystemTime",
            "Utc::now",
        ],
    ),
    (
        "sim",
        &[
            "SystemTime",
            "Instant::now",
            "Utc::now",
            "std::fs",
            "std::net",
            "std::process",
            "thread_rng",
            "rand::rng()",
        ],
    ),
];

/// The files that git tracks, with their text; binary files are left out.
fn tracked() -> BTreeMap<String, String> {
    let names = output(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root()),
    );
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            Some((
                name.to_owned(),
                std::fs::read_to_string(root().join(name)).ok()?,
            ))
        })
        .collect()
}

/// The lines of a source that run outside tests: no comments, nothing from `#[cfg(test)]` on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.contains("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

#[test]
fn crates_use_each_other_only_along_the_arrows_of_the_map() {
    let text = output(
        Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(root()),
    );
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mapped: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names, mapped,
        "the crates of the workspace, and those of the map"
    );
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let allowed = ARROWS
            .iter()
            .find(|(own, _)| *own == name)
            .map_or(&[][..], |(_, allowed)| allowed);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"]
                .as_str()
                .expect("a dependency has a name");
            assert!(
                !names.contains(used) || allowed.contains(&used),
                "`{name}` must not use `{used}`"
            );
        }
    }
}

#[test]
fn pure_crates_name_no_clock_no_files_and_no_service() {
    let mut found = Vec::new();
    for (path, text) in tracked() {
        for (name, words) in ABSENT {
            let own =
                path.starts_with(&format!("crates/{name}/src/")) && !path.ends_with("tests.rs");
            if !own {
                continue;
            }
            for (number, line) in code(&text) {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    found.push(format!("{path}:{number}: `{word}` in crate `{name}`"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn one_module_names_the_hudi_library() {
    let library = concat!("hudi", "_core");
    let named: Vec<String> = tracked()
        .into_iter()
        .filter(|(path, text)| {
            path.ends_with(".rs") && code(text).any(|(_, line)| line.contains(library))
        })
        .map(|(path, _)| path)
        .filter(|path| {
            !path.contains("/examples/") && !path.contains("/tests/") && !path.starts_with("tests/")
        })
        .collect();
    assert!(
        named.iter().all(|path| path == "crates/worker/src/hudi.rs"
            || path.starts_with("crates/worker/src/hudi/")),
        "{named:?}"
    );
}

#[test]
fn each_source_says_what_it_is_on_its_first_line() {
    let silent: Vec<String> = tracked()
        .into_iter()
        .filter(|(path, text)| path.ends_with(".rs") && !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "no `//! ` line: {silent:?}");
}

#[test]
fn no_file_holds_a_path_of_one_machine() {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/fa", "rm/"),
    ];
    let mut found = Vec::new();
    for (name, text) in tracked() {
        for (index, line) in text.lines().enumerate() {
            let held = paths.iter().any(|path| {
                line.match_indices(path).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| {
                        before.is_alphanumeric() || "_.-".contains(before)
                    })
                })
            });
            if held {
                found.push(format!("{name}:{}: {line}", index + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_script_is_well_formed_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in tracked() {
        if !text.starts_with("#!/usr/bin/env bash") {
            continue;
        }
        let path = root().join(&name);
        output(Command::new("bash").arg("-n").arg(&path));
        let mode = std::fs::metadata(&path)
            .expect("it was just read")
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "`{name}` cannot be run");
    }
}

/// The commands in the README's code: each line of a block, and what is between backticks, from `word` on.
fn readme_commands(word: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let mut block = false;
    let mut commands = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("```") {
            block = !block;
            continue;
        }
        let pieces: Vec<&str> = if block {
            vec![line]
        } else {
            line.split('`').skip(1).step_by(2).collect()
        };
        for piece in pieces {
            let words: Vec<&str> = piece.split_whitespace().collect();
            for pair in words.windows(2).take_while(|pair| pair[0] != "#") {
                let own = pair[0] == word || pair[0].ends_with(&format!("/{word}"));
                if own && pair[1].starts_with(|first: char| first.is_ascii_lowercase()) {
                    commands.insert(pair[1].to_owned());
                }
            }
        }
    }
    commands
}

#[test]
fn every_make_command_of_the_readme_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("there is a Makefile");
    let commands = readme_commands("make");
    assert!(
        commands.contains("demo") && commands.contains("test"),
        "{commands:?}"
    );
    for command in commands {
        assert!(
            makefile
                .lines()
                .any(|line| line.starts_with(&format!("{command}:"))),
            "`make {command}` is in README.md and not in the Makefile"
        );
    }
}

#[test]
fn every_headwater_command_of_the_readme_exists_and_every_command_is_in_the_readme() {
    let help = output(Command::new(program("headwater")).arg("--help"));
    let known: BTreeSet<String> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|command| command != "help")
        .collect();
    assert!(!known.is_empty(), "no commands in: {help}");
    let mut described = readme_commands("headwater");
    described.remove("help");
    assert_eq!(
        described, known,
        "the commands of README.md, and those of `headwater --help`"
    );
}
