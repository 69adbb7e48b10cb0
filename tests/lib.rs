//! What the tests of this workspace share: the servers that they start, the stores on them, what goes wrong in between, and what is logged.

pub mod log;
pub mod opened;
pub mod proxy;
pub mod servers;
