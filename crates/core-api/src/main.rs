//! The booking service.
fn main() {}
