//! Capture against a private Postgres.
