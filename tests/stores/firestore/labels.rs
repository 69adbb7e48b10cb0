//! A record's labels and times.

use tests::servers::firestore::FirestoreEmulator;

use super::{connect, hold, unused_project};
use crate::labels::every_step_keeps_the_labels;

#[tokio::test]
async fn every_step_keeps_the_labels_as_they_are() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    every_step_keeps_the_labels(&store, hold).await;
}
