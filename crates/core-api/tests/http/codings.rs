//! Bodies with a `Content-Encoding`.

use tempfile::tempdir;

use crate::server::{Server, booking, send};

/// An empty gzip member, with a good checksum.
const GZIP: [u8; 20] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

// proves: unread-encoding-gets-415
#[tokio::test]
async fn a_compressed_body_is_refused_by_name_and_the_key_stays_free() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for coding in ["gzip", "GZIP", "br", "identity, gzip", "x-unheard-of"] {
        for key in [None, Some("k")] {
            let mut request = server
                .request("POST", "/bookings")
                .header("content-type", "application/json")
                .header("content-encoding", coding)
                .body(GZIP.to_vec());
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let refused = send(request).await;
            let document = refused.problem(415);
            assert_eq!(document["code"], "unsupported_content_coding");
            assert_eq!(refused.header("accept-encoding"), Some("identity"));
        }
    }
    let plain = server
        .request("POST", "/bookings")
        .header("idempotency-key", "k");
    let booked = send(plain.json(&booking("Ann"))).await;
    assert_eq!(booked.status, 201);
    assert!(!booked.is_replayed());
}

// proves: empty-body-has-no-type, unread-encoding-gets-415
#[tokio::test]
async fn identity_is_no_coding() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for (coding, is_replayed) in [("identity", false), ("Identity", true), ("", true)] {
        let request = server.write("POST", "/bookings", "k", &booking("Ann"));
        let booked = send(request.header("content-encoding", coding)).await;
        assert_eq!(booked.status, 201);
        assert_eq!(booked.is_replayed(), is_replayed);
    }
}

// proves: unread-encoding-gets-415
#[tokio::test]
async fn another_media_type_is_refused_without_naming_codings() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let text = server.request("POST", "/bookings").body("text");
    let refused = send(text).await;
    assert_eq!(refused.problem(415)["code"], "unsupported_media_type");
    assert_eq!(refused.header("accept-encoding"), None);
}
