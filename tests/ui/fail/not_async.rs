use idempotency::idempotent;

#[idempotent]
fn create() {}

fn main() {
    create();
}
