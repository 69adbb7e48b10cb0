use idempotency::idempotent;

use std::borrow::Cow;

#[idempotent]
async fn create(name: Cow<'_, str>) -> String {
    name.into_owned()
}

fn main() {}
