use idempotency::idempotent;

#[idempotent(crate = web::idempotency)]
async fn create() -> String {
    String::new()
}

fn main() {}
