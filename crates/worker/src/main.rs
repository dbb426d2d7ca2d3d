//! `headwater-worker`: runs one step of a frozen plan, capture, or reconciliation, as its arguments say.

fn main() {}
