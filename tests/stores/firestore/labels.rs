//! A record's labels and times.

use tests::servers::firestore::FirestoreEmulator;

use super::{connect, unused_project};
use crate::labels::{
    a_list_has_every_match_however_far_back_it_is, every_step_keeps_the_labels,
    only_the_completed_record_that_was_seen_is_corrected,
};

#[tokio::test]
async fn every_step_keeps_the_labels_as_they_are() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    every_step_keeps_the_labels(&store).await;
}

#[tokio::test]
async fn an_operator_corrects_only_the_completed_record_that_was_seen() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    only_the_completed_record_that_was_seen_is_corrected(&store).await;
}

#[tokio::test]
async fn a_narrowed_list_has_every_match_however_far_back_it_is() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    a_list_has_every_match_however_far_back_it_is(&store).await;
}
