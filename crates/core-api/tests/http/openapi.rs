//! `GET /openapi.json`: whether it is whole, and whether the service does what it says.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, header::HeaderName};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    server::{Reply, Server, booking, send},
    tokens::{Tokens, get},
};

pub(crate) const MEMORY: [&str; 2] = ["--database", "memory:"];

/// The description, which everyone gets.
pub(crate) async fn description(server: &Server) -> Value {
    let reply = server.get("/openapi.json").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

/// Path, method in capitals, and operation.
fn operations(document: &Value) -> Vec<(&str, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    });
    operations.collect()
}

fn operation<'a>(document: &'a Value, id: &str) -> &'a Value {
    let mut operations = operations(document).into_iter();
    operations
        .find(|(.., operation)| operation["operationId"] == id)
        .unwrap()
        .2
}

/// Every value in the document that has this name.
fn named<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|inner| named(inner, name, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| named(inner, name, found)),
        _ => {}
    }
}

fn names(operation: &Value, place: &str) -> BTreeSet<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.filter(|parameter| parameter["in"] == place);
    parameters
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

// proves: policy-page-published
#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let document = description(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    for member in ["title", "version"] {
        assert!(document["info"][member].is_string());
    }

    let mut references = Vec::new();
    named(&document, "$ref", &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let ids = operations(&document);
    let ids = ids
        .iter()
        .map(|(.., operation)| operation["operationId"].as_str().unwrap());
    let unique: BTreeSet<_> = ids.clone().collect();
    assert_eq!(unique.len(), ids.count());
    let mut links = Vec::new();
    named(&document, "links", &mut links);
    let links: Vec<_> = links
        .into_iter()
        .flat_map(|links| links.as_object().unwrap().values())
        .collect();
    assert_eq!(links.len(), 4);
    for link in links {
        let target = operation(&document, link["operationId"].as_str().unwrap());
        let given: BTreeSet<_> = link["parameters"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(given, names(target, "path"));
    }
    for (path, method, operation) in operations(&document) {
        let in_path = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned);
        assert_eq!(
            names(operation, "path"),
            in_path.collect(),
            "{method} {path}"
        );
        assert!(operation["summary"].is_string(), "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{method} {path}");
        assert!(
            responses
                .values()
                .all(|response| response["description"].is_string())
        );
    }
}

// proves: policy-page-published
#[tokio::test]
async fn the_description_has_each_method_of_each_route_and_no_others() {
    // A route that is added by its path has no description.
    assert!(!include_str!("../../src/router.rs").contains(".route("));
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let document = description(&server).await;
    let mut described = BTreeMap::<&str, BTreeSet<String>>::new();
    for (path, method, _) in operations(&document) {
        let methods = described.entry(path).or_default();
        if method == "GET" {
            methods.insert("HEAD".into());
        }
        methods.insert(method);
    }
    let methods = |reply: &Reply| -> BTreeSet<String> {
        let allow = reply.header("allow").unwrap().split(',');
        allow.map(|method| method.trim().to_owned()).collect()
    };
    for (path, expected) in described {
        let path = path.replace("{id}", "1");
        let refused = send(server.request("TRACE", &path)).await;
        refused.problem(405);
        assert_eq!(methods(&refused), expected, "{path}");
        if path.starts_with("/bookings") {
            let told = send(server.request("OPTIONS", &path)).await;
            assert_eq!(methods(&told), expected, "{path}");
        }
    }
}

/// Asserts that the description has this response, each of its own header fields, and what must be there.
#[track_caller]
fn assert_described(operation: &Value, reply: &Reply) {
    let response = &operation["responses"][reply.status.as_str()];
    assert!(response.is_object(), "{}", reply.status);
    let described = response["headers"].as_object().into_iter().flatten();
    let described: Vec<_> = described.map(|(name, _)| name.to_lowercase()).collect();
    let message = [
        "content-type",
        "content-length",
        "date",
        "content-language",
        "cache-control",
    ];
    for name in reply.headers.keys().map(HeaderName::as_str) {
        let is_described = described.iter().any(|own| own == name);
        // The link of a problem leads to its page.
        let is_described = is_described || reply.status.as_u16() >= 400 && name == "link";
        assert!(is_described || message.contains(&name), "{name}");
    }
    match reply.header("content-type") {
        Some(content_type) => assert!(response["content"][content_type].is_object()),
        None => assert!(response["content"].is_null()),
    }
}

// proves: policy-page-published
#[tokio::test]
async fn what_the_description_says_of_a_write_is_what_its_client_gets() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let document = description(&server).await;
    let created = operation(&document, "create_booking");
    let other = operation(&document, "replace_booking");
    assert_ne!(
        created["x-idempotency"]["ttl_seconds"],
        other["x-idempotency"]["ttl_seconds"]
    );
    let mut path = "/bookings".to_owned();
    let change = json!({ "time": "11:00" });
    for (id, method, body) in [
        ("create_booking", Method::POST, booking("Ann")),
        ("replace_booking", Method::PUT, booking("Bob")),
        ("change_booking", Method::PATCH, change),
        ("delete_booking", Method::DELETE, json!({})),
    ] {
        let operation = operation(&document, id);
        let policy = &operation["x-idempotency"];
        let parameters = operation["parameters"].as_array().unwrap();
        let key = parameters
            .iter()
            .find(|parameter| parameter["in"] == "header")
            .unwrap();
        assert_eq!(key["name"], policy["header"]);
        assert_eq!(key["required"], false);
        assert_eq!(
            (&key["schema"]["minLength"], &key["schema"]["maxLength"]),
            (&json!(1), &json!(255))
        );

        let ask = || send(server.write(method.as_str(), &path, id, &body));
        let first = ask().await;
        assert_described(operation, &first);
        let replay = ask().await;
        assert_described(operation, &replay);
        let marker = policy["replayed_header"].as_str().unwrap();
        assert_eq!(
            (first.header(marker), replay.header(marker)),
            (None, Some("true"))
        );
        let success = &operation["responses"][first.status.as_str()]["headers"];
        assert_eq!(success[marker]["schema"]["enum"][0], "true");

        let expires = policy["expires_header"].as_str().unwrap();
        assert!(success[expires].is_object());
        let time = |name| {
            let date = first.header(name).unwrap();
            chrono::DateTime::parse_from_rfc2822(date)
                .unwrap()
                .timestamp()
        };
        let kept = time(expires) - time("date");
        let told = policy["ttl_seconds"].as_i64().unwrap();
        assert!((kept - told).abs() <= 2, "{kept} and {told}");
        if let Some(location) = first.header("location") {
            path = location.to_owned();
        }
    }
}

#[tokio::test]
async fn each_refusal_is_described_with_its_code() {
    let directory = tempdir().unwrap();
    let arguments = ["--database", "memory:", "--fault-injection"];
    let server = Server::start(directory.path(), &arguments);
    let document = description(&server).await;
    let create = |key, body: &Value| server.write("POST", "/bookings", key, body);
    let show = "/bookings/1";
    server.book("used", "Ann").await;
    for (id, request) in [
        ("create_booking", create("a,b", &booking("Ann"))),
        ("create_booking", create("used", &booking("Bob"))),
        ("create_booking", create("invalid", &json!({}))),
        ("create_booking", create("array", &json!([]))),
        (
            "create_booking",
            create("large", &booking(&"A".repeat(100_000))),
        ),
        (
            "create_booking",
            create("panic", &booking("Ann")).header("X-Fault-Panic", "1"),
        ),
        (
            "create_booking",
            server.request("POST", "/bookings").body("text"),
        ),
        (
            "replace_booking",
            server.write("PUT", show, "put", &booking("Ann")),
        ),
        (
            "delete_booking",
            server.write("DELETE", show, "delete", &json!({})),
        ),
        ("show_booking", server.request("GET", show)),
        ("list_bookings", server.request("GET", "/bookings?limit=0")),
    ] {
        let operation = operation(&document, id);
        let refused = send(request).await;
        assert_described(operation, &refused);
        let code = refused.problem(refused.status.as_u16())["code"].clone();
        let code = format!("`{}`", code.as_str().unwrap());
        let description = &operation["responses"][refused.status.as_str()]["description"];
        assert!(
            description.as_str().unwrap().contains(&code),
            "{code}: {description}"
        );
    }
}

#[tokio::test]
async fn a_booking_is_valid_by_the_description_if_the_service_takes_it() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let document = description(&server).await;
    let schemas = &document["components"]["schemas"];
    let body = &operation(&document, "create_booking")["requestBody"];
    assert_eq!(body["required"], true);
    assert_eq!(
        body["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/NewBooking"
    );
    let required = schemas["NewBooking"]["required"].as_array().unwrap();
    for member in required.iter().map(|member| member.as_str().unwrap()) {
        let mut missing = booking("Ann");
        missing.as_object_mut().unwrap().remove(member);
        send(server.request("POST", "/bookings").json(&missing))
            .await
            .problem(422);
    }
    let longest = usize::try_from(schemas["Text"]["maxLength"].as_u64().unwrap()).unwrap();
    for (length, status) in [(1, 201), (longest, 201), (0, 422), (longest + 1, 422)] {
        for member in ["service_id", "customer_name"] {
            let mut body = booking("Ann");
            body[member] = "Ä".repeat(length).into();
            let reply = send(server.request("POST", "/bookings").json(&body)).await;
            assert_eq!(reply.status, status, "{member}: {length}");
        }
    }
    let shown = server.bookings().await[0].clone();
    let members: BTreeSet<_> = shown.as_object().unwrap().keys().cloned().collect();
    let described = schemas["Booking"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned();
    assert_eq!(members, described.collect());
}

#[tokio::test]
async fn the_operations_that_need_a_token_are_those_that_say_so() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    for (arguments, secured) in [
        (&[][..], 10),
        (&["--protect-health"], 13),
        (&["--protect-docs"], 13),
        (&["--protect-health", "--protect-docs"], 16),
    ] {
        let server = tokens.start(arguments);
        let document = get(&server, &ann, "/openapi.json").await.json();
        let scheme = &document["components"]["securitySchemes"]["token"];
        assert_eq!(
            (&scheme["type"], &scheme["scheme"]),
            (&json!("http"), &json!("bearer"))
        );
        let mut count = 0;
        for (path, method, operation) in operations(&document) {
            let path = path.replace("{id}", "1");
            let reply = send(server.request(&method, &path)).await;
            let needs_token = operation["security"] == json!([{ "token": [] }]);
            count += u8::from(needs_token);
            assert_eq!(reply.status == 401, needs_token, "{method} {path}");
            if needs_token {
                assert_described(operation, &reply);
            }
            assert_eq!(operation["responses"]["403"].is_object(), needs_token);
        }
        assert_eq!(count, secured);
    }
    let open = Server::start(tokens.directory.path(), &MEMORY);
    let document = description(&open).await;
    assert!(document["components"]["securitySchemes"].is_null());
    assert!(
        operations(&document)
            .iter()
            .all(|(.., operation)| operation["responses"]["401"].is_null())
    );
}
