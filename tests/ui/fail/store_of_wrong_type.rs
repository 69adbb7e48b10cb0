use idempotency::Idempotency;

fn main() {
    let _ = Idempotency::new("sqlite:keys.db");
}
