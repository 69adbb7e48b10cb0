//! What the attribute accepts: which handlers can carry it, with which other attributes, and what it then does.
//!
//! Every module compiles without a warning. What the attribute refuses is in `tests/ui`.

mod all_forms;
mod behaviour;
mod database_errors;
mod defaults;
mod direct_calls;
mod extractors;
mod long_responses;
mod openapi;
mod principal;
mod rejections;
mod replay;
mod stacked;
mod state;
mod support;
mod tombstones;
mod unusual_forms;
