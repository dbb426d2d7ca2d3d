//! `docs/data-types.md` holds the table as the code has it.

use super::markdown;
use std::path::PathBuf;

/// All below this line is made by `markdown`.
const MARK: &str =
    "<!-- From here on made by the program: `RENEW=1 cargo test -p worker types::document` -->\n";

#[test]
fn the_document_holds_the_table_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/data-types.md");
    let document = std::fs::read_to_string(&path).expect("docs/data-types.md");
    let (written, table) = document
        .split_once(MARK)
        .expect("the line above the table in docs/data-types.md");
    if std::env::var_os("RENEW").is_some() {
        let renewed = format!("{written}{MARK}\n{}", markdown());
        std::fs::write(&path, renewed).expect("docs/data-types.md");
        return;
    }
    assert!(
        table == format!("\n{}", markdown()),
        "docs/data-types.md is not what the code does: renew it by `RENEW=1 cargo test -p worker types::document`"
    );
}
