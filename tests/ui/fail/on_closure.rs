use idempotency::idempotent;

fn main() {
    let _ = #[idempotent]
    async || {};
}
