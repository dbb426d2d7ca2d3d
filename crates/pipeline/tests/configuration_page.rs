//! docs/configuration.md and the code know the same attributes.

use pipeline::config::safety::{ALLOWED, JDBC_REFUSED, REFUSED};
use pipeline::{config, deployment};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../../docs/configuration.md");
/// Attributes that all items have, described once.
const SHARED: [&str; 2] = ["identifier", "config"];

/// The text below a heading that begins so, up to the next heading of its level.
fn section(heading: &str) -> &'static str {
    let at = PAGE.find(&format!("\n## {heading}"));
    let at = at.unwrap_or_else(|| panic!("no section `{heading}`")) + 4;
    let rest = &PAGE[at..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The names in the first column of the attributes' table.
fn described(heading: &str) -> BTreeSet<String> {
    let rows = section(heading)
        .lines()
        .skip_while(|line| !line.starts_with("| attribute |"))
        .take_while(|line| line.starts_with('|'));
    let names: Vec<String> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(
        unique.len(),
        names.len(),
        "a name is described twice: {heading}"
    );
    unique
}

#[test]
fn the_page_describes_each_attribute_of_each_item_and_no_other() {
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (form, prefix, names) in config::ATTRIBUTES {
        let paths = names.iter().map(|name| format!("{prefix}{name}"));
        let own = known.entry(form).or_default();
        own.extend(paths.filter(|path| !SHARED.contains(&path.as_str())));
    }
    for (form, names) in known {
        assert_eq!(described(&format!("`{form}")), names, "{form}");
    }
    assert_eq!(described("Every item"), SHARED.map(str::to_owned).into());
}

#[test]
fn the_page_describes_each_attribute_of_the_deployment_file_and_no_other() {
    let known: BTreeSet<String> = deployment::ATTRIBUTES
        .iter()
        .flat_map(|(prefix, names)| names.iter().map(move |name| format!("{prefix}{name}")))
        .collect();
    assert_eq!(described("The deployment file"), known);
}

#[test]
fn the_page_lists_what_may_be_set_and_what_is_refused() {
    let listed: BTreeSet<&str> = section("Spark settings")
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| *text != "*" && text.contains(['.', '*']))
        .collect();
    let known: BTreeSet<&str> = REFUSED
        .iter()
        .map(|(pattern, _)| *pattern)
        .chain(ALLOWED.iter().copied())
        .collect();
    assert_eq!(listed, known);
    for name in JDBC_REFUSED {
        let refused = section("`step::system::").contains(&format!("`{name}`"));
        assert!(refused, "{name}");
    }
}
