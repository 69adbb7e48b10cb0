//! The example `payment`, which kills a service between what it does. Cargo builds examples with `cargo test`; with
//! `cargo test --test payment` it takes the one that is there.

use std::{
    env,
    process::{Command, Stdio},
};

/// Once the charge is kept, the provider is not asked again; before that it is, and knows the charge by its key.
// behaviour 128, 133
// race 55
#[test]
fn a_service_that_dies_between_charge_and_booking_charges_once() {
    let test = env::current_exe().expect("a path");
    let target = test.ancestors().nth(2).expect("the folder of the profile");
    let example = target
        .join("examples/payment")
        .with_extension(env::consts::EXE_EXTENSION);
    let run = Command::new(&example).stderr(Stdio::inherit()).output();
    let run = run.unwrap_or_else(|error| panic!("{}: {error}", example.display()));
    let story = String::from_utf8(run.stdout).expect("text");
    println!("{story}");
    assert!(run.status.success(), "{}", run.status);

    let figures = |name: &str| -> Vec<_> {
        let lines = story.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .collect()
    };
    assert_eq!(figures("the service has died").len(), 2);
    assert_eq!(figures("attempts"), ["2", "2"]);
    assert_eq!(figures("requests to the provider"), ["1", "2"]);
    assert_eq!(figures("charges"), ["1", "1"]);
}
