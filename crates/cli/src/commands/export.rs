//! `headwater export`: the configuration table as a file, in its normal form.

use crate::context::{Context, Trouble, block_on};
use crate::{items, print};
use pipeline::normal;
use pipeline::problem::nearest;
use std::process::ExitCode;

/// The configuration table as a file, in its normal form
///
/// Sorted, each number and boolean spelt in one way: equal configuration has equal bytes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the items of this identifier
    #[arg(long, value_name = "ID")]
    identifier: Option<String>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let stored = block_on(async { items::stored(&context.existing().await?).await })?;
    let wanted = match &arguments.identifier {
        None => stored,
        Some(identifier) => {
            let mut groups = items::by_identifier(&stored);
            match groups.remove(identifier) {
                Some(items) => items,
                None => return Err(unknown(identifier, groups.keys().map(String::as_str))),
            }
        }
    };
    print::data(&normal::print(&wanted))?;
    Ok(ExitCode::SUCCESS)
}

fn unknown<'a>(identifier: &str, known: impl Iterator<Item = &'a str>) -> Trouble {
    let known: Vec<&str> = known.collect();
    let trouble = Trouble::usage(format!("identifier `{identifier}` has no items"));
    trouble.hint(match nearest(identifier, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "`headwater import FILE` writes items".to_owned(),
        None => format!("known: {}", pipeline::value::list(&known)),
    })
}
