//! A program has one rustls provider, which the application chooses. With a second one compiled in, what leaves the choice to rustls
//! panics.

use crate::{built_of, features, packages};

/// What rustls's own providers are made of.
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

// gcloud-sdk's own features for it bring a provider, so tonic's is turned on beside it, which nothing else would miss.
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
