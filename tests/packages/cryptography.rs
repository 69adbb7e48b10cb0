//! A program has one rustls provider, which the application chooses. If a second one is compiled in, code that leaves the
//! choice to rustls panics.

use crate::{built_of, features, packages};

/// The crates behind rustls's own providers.
const PROVIDERS: [&str; 2] = ["aws-lc-rs", "ring"];

#[test]
fn no_feature_of_the_library_turns_a_crypto_provider_on() {
    let packages = packages();
    for feature in features(&packages) {
        let found = providers("idempotency", &["--features", feature]);
        assert!(found.is_empty(), "the feature {feature} brings {found:?}");
    }
}

#[test]
fn core_api_has_the_one_crypto_provider_that_it_installs() {
    assert_eq!(providers("core-api", &["--all-features"]), ["ring"]);
}

// gcloud-sdk's own TLS features bring a provider, so the library enables tonic's feature instead.
// No other test would notice its absence.
#[test]
fn firestore_has_authorities_to_believe() {
    let built_of = built_of("idempotency", &["--features", "firestore"]);
    assert!(built_of.iter().any(|(name, _)| name == "webpki-roots"));
}

fn providers(name: &str, features: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = built_of(name, features)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| PROVIDERS.contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
