//! The example `payment`, as it is.

use std::process::Command;

/// Once the charge is stored, the provider is not called again. Before that it is called, and recognises the charge by its key.
// proves: dead-owner-taken-over, downstream-key-derived, failure-after-effect-reruns
#[test]
fn a_service_that_dies_between_charge_and_booking_charges_once() {
    let run = Command::new(env!("CARGO_BIN_EXE_example-payment")).output();
    let run = run.expect("the example runs");
    let story = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{story}{errors}");

    let figures = |name: &str| -> Vec<_> {
        let lines = story.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .collect()
    };
    assert_eq!(figures("the service has died").len(), 2, "{story}");
    assert_eq!(figures("attempts"), ["2", "2"], "{story}");
    assert_eq!(figures("requests to the provider"), ["1", "2"], "{story}");
    assert_eq!(figures("charges"), ["1", "1"], "{story}");
}
