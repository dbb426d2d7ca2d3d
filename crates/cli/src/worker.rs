//! Commands that the worker does: this process becomes the worker.

use crate::context::{Trouble, open_home};
use local::process::HOME_VARIABLE;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes `headwater-worker` with these arguments; comes back only when that cannot be.
pub fn become_worker(home: &Path, json: bool, arguments: &[String]) -> Trouble {
    let local = match open_home(home) {
        Ok(local) => local,
        Err(trouble) => return trouble,
    };
    let path = local.program().worker();
    let home = local.home().root().to_owned();
    drop(local);
    let mut command = Command::new(&path);
    command
        .args(arguments)
        .arg("--home")
        .arg(&home)
        .args(json.then_some("--json"))
        .env(HOME_VARIABLE, &home);
    let error = command.exec();
    let trouble = Trouble::failed(format!("`{}` cannot be started: {error}", path.display()));
    match error.kind() {
        ErrorKind::NotFound => trouble.hint(
            "`make build` builds it beside `headwater`; HEADWATER_WORKER names one that is elsewhere",
        ),
        _ => trouble,
    }
}
