use idempotency::idempotent;

#[idempotent(replay = show(ReplayWith<impl Sized>))]
async fn create() {}

fn main() {
    let _ = create;
}
