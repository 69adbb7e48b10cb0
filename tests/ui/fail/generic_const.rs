use idempotency::idempotent;

#[idempotent]
async fn create<const N: usize>() -> String {
    N.to_string()
}

fn main() {}
