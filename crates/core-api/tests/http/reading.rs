//! Reads: one booking, pages of bookings, and the service's health.

use chrono::{DateTime, Utc};
use reqwest::header::LINK;
use serde_json::json;
use tempfile::tempdir;
use uuid::Uuid;

use crate::server::{Server, booking};

#[tokio::test]
async fn a_booking_has_its_seven_members() {
    let directory = tempdir().unwrap();
    let before = Utc::now();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        let path = server.book("k", "Zoë 李").await.headers["location"]
            .to_str()
            .unwrap()
            .to_owned();
        let response = server.get(&path).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let shown = response.json();

        let id: Uuid = shown["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
        let written = shown["created_at"].as_str().unwrap();
        assert_eq!(written.len(), "2026-12-01T10:00:00.000Z".len());
        assert!(written.ends_with('Z'));
        let created_at: DateTime<Utc> = written.parse().unwrap();
        assert!(
            (before.timestamp_millis()..=Utc::now().timestamp_millis())
                .contains(&created_at.timestamp_millis())
        );
        let mut expected = booking("Zoë 李");
        expected["status"] = json!("confirmed");
        expected["id"] = shown["id"].clone();
        expected["created_at"] = shown["created_at"].clone();
        assert_eq!(shown, expected);
    }
}

#[tokio::test]
async fn pages_follow_one_another_from_the_newest_to_the_oldest() {
    let directory = tempdir().unwrap();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        assert_eq!(server.get("/bookings").await.body, b"[]");
        for name in ["1", "2", "3", "4", "5"] {
            server.book(name, name).await;
        }

        let mut names = Vec::new();
        let mut lengths = Vec::new();
        let mut path = "/bookings?limit=2".to_owned();
        loop {
            let page = server.get(&path).await;
            let bookings = page.json();
            let bookings = bookings.as_array().unwrap();
            lengths.push(bookings.len());
            names.extend(
                bookings
                    .iter()
                    .map(|booking| booking["customer_name"].as_str().unwrap().to_owned()),
            );
            let Some(link) = page.headers.get(LINK) else {
                break;
            };
            let link = link.to_str().unwrap();
            let next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""));
            next.unwrap_or_else(|| panic!("{link}"))
                .clone_into(&mut path);
        }
        assert_eq!(names, ["5", "4", "3", "2", "1"]);
        assert_eq!(lengths, [2, 2, 1]);

        // A page that is exactly full is the last one.
        let full = server.get("/bookings?limit=5").await;
        assert_eq!(full.header("link"), None);
        assert_eq!(server.get("/bookings").await.body, full.body);
    }
}

#[tokio::test]
async fn a_page_begins_after_a_booking_even_if_that_is_gone() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    for name in ["1", "2", "3"] {
        server.book(name, name).await;
    }
    let second = server.bookings().await[1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let delete = server.request("DELETE", &format!("/bookings/{second}"));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    let page = server
        .get(&format!("/bookings?after={second}"))
        .await
        .json();
    assert_eq!(page.as_array().unwrap().len(), 1);
    assert_eq!(page[0]["customer_name"], "1");
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=",
        "limit=1&limit=2",
        "after=7",
    ] {
        let refused = server.get(&format!("/bookings?{query}")).await;
        let document = refused.problem(400);
        let name = query.split_once('=').unwrap().0;
        assert!(
            document["detail"].as_str().unwrap().contains(name),
            "{document}"
        );
    }
    assert_eq!(server.get("/bookings?limit=1000").await.status, 200);
}

#[tokio::test]
async fn the_service_says_how_it_is() {
    let directory = tempdir().unwrap();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        assert_eq!(server.get("/healthz").await.status, 200);
        assert_eq!(server.get("/readyz").await.status, 200);
    }
}
