//! Seeds of hand-made loads.
