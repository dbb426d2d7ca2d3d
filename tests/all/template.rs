//! The template and the definition under their judges: tools that others wrote, and checks of our own. `tests/judges/run` says
//! what each looked at.

use crate::programs::{output, root};
use std::process::Command;

fn judges() -> Command {
    Command::new(root().join("tests/judges/run"))
}

#[test]
fn the_template_and_its_definition_pass_every_judge() {
    println!("{}", output(&mut judges()));
}

#[test]
fn each_judge_of_the_template_finds_the_mistakes_made_for_it() {
    println!("{}", output(judges().arg("--self-test")));
}
