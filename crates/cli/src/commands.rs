//! One module per command: its `Arguments`, and `run`, which is told the context and answers with the exit code.
