//! What operators find records by, and what they do with what has ended.

macro_rules! labels {
    () => {
        #[tokio::test]
        async fn a_record_tells_its_times() {
            let opened = open();
            conformance::labels::a_record_tells_its_times(&opened.store, &opened.advance()).await;
        }

        #[tokio::test]
        async fn a_record_keeps_the_labels_of_its_first_claim() {
            let opened = open();
            conformance::labels::a_record_keeps_the_labels_of_its_first_claim(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        #[tokio::test]
        async fn a_list_is_narrowed_by_phase_age_and_label() {
            let opened = open();
            conformance::labels::a_list_is_narrowed_by_phase_age_and_label(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        #[tokio::test]
        async fn a_completed_outcome_is_replaced() {
            let opened = open();
            conformance::corrections::a_completed_outcome_is_replaced(
                &opened.store,
                &opened.advance(),
            )
            .await;
        }

        #[tokio::test]
        async fn a_completed_record_is_forgotten() {
            let opened = open();
            conformance::corrections::a_completed_record_is_forgotten(&opened.store).await;
        }
    };
}

pub(crate) use labels;
