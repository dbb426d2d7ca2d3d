//! What the SDK's answers mean for a caller: refused for now, refused for good, or not known.
