use idempotency::idempotent;

#[idempotent]
async fn create<T: Default>() -> T {
    T::default()
}

fn main() {}
