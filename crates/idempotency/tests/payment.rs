//! The example `payment`, as whoever reads it runs it.

use std::{env, process::Command};

// behaviour 128, 133
// race 5, 55
#[test]
fn a_booking_that_is_killed_in_the_middle_is_charged_once() {
    let deps = env::current_exe().expect("the path of this test");
    let built = deps.ancestors().nth(2).expect("a folder for each profile");
    let example = built.join("examples/payment");
    assert!(
        example.exists(),
        "the examples are built with all tests of the package: cargo test -p idempotency --all-features",
    );
    let told = Command::new(example).output().expect("the example runs");
    let story = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{story}{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(
        story.contains("Guest 1 has a room, by receipt 1 for 100 euros, in attempt 2"),
        "{story}"
    );
    assert!(
        story.contains("Guest 2 has a room, by receipt 2 for 100 euros, in attempt 2"),
        "{story}"
    );
    assert!(story.ends_with("Two bookings, 2 charges.\n"), "{story}");
}
