use idempotency::idempotent;

#[idempotent(ttl = 60, lease_seconds = 0, keep = "none", required = true)]
unsafe fn create<T>(name: String) -> String {
    name
}

fn main() {}
