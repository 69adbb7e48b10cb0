//! The integration tests of the workspace live in this package; it has no library.
