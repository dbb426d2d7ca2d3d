//! The built programs, which tests start as processes, and the repository's own folder.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package `tests` is inside the repository")
}

/// What a command says on stdout; fails with all that it said when it fails.
pub fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program that `make test` builds before the tests, beside this test's own executable.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this test has a path");
    let folder = own
        .parent()
        .and_then(Path::parent)
        .expect("tests are built into target/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "`{name}` is not built: {}\nhint: cargo build --workspace --bins --example panics, or make test",
        path.display()
    );
    path
}
