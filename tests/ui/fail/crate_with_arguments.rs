use idempotency::idempotent;

#[idempotent(crate = web::idempotency<u8>)]
async fn create() -> String {
    String::new()
}

fn main() {}
