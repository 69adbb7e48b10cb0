//! How callers are told apart where no layer has verified them: credentials that stay, those that change, and cookies.

use idempotency::HttpConfig;
use reqwest::RequestBuilder;
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

/// Asserts that each of these callers has its own record of the key.
async fn are_kept_apart(server: &TestServer, callers: &[&[(&str, &str)]]) {
    for caller in callers {
        let first = Reply::to(from(server.booking("k"), caller)).await;
        first.assert_fresh(201);
        Reply::to(from(server.booking("k"), caller))
            .await
            .assert_replays(&first);
    }
    assert_eq!(server.probe.runs(), callers.len());
}

fn from(request: RequestBuilder, caller: &[(&str, &str)]) -> RequestBuilder {
    caller.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

// proves: static-credential-is-caller
#[tokio::test]
async fn an_api_key_is_a_caller() {
    let http = HttpConfig::new().with_credential_header("x-client".parse().expect("a name"));
    let server = TestServer::speaking(http).await;
    are_kept_apart(
        &server,
        &[
            &[],
            &[("x-api-key", "a")],
            &[("x-api-key", "b")],
            &[("api-key", "a")],
            &[("x-auth-token", "a")],
            &[("x-access-token", "a")],
            &[("ocp-apim-subscription-key", "a")],
            &[("x-client", "a")],
            &[("x-api-key", "a"), ("x-client", "a")],
            &[("authorization", "Bearer a")],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
        ],
    )
    .await;
    // A field that is not a credential does not tell callers apart.
    let request = server.booking("k");
    let again = Reply::to(request.header("x-other", "a")).await;
    assert!(again.is_replay());
}

// proves: static-credential-is-caller
#[tokio::test]
async fn credentials_are_compared_in_whatever_order_they_come() {
    let server = TestServer::new().await;
    let mut caller = [
        ("x-api-key", "a"),
        ("api-key", "b"),
        ("authorization", "Basic YTpi"),
    ];
    let first = Reply::to(from(server.booking("k"), &caller)).await;
    first.assert_fresh(201);
    caller.reverse();
    Reply::to(from(server.booking("k"), &caller))
        .await
        .assert_replays(&first);
}

// proves: changing-credential-needs-scope
#[tokio::test]
async fn a_scheme_is_compared_without_regard_to_case_and_spaces() {
    let server = TestServer::new().await;
    for [scheme, other] in [
        ["Bearer t", "bearer   t"],
        ["Basic YTpi", "BASIC YTpi"],
        ["DPoP t", "dpop t"],
    ] {
        let first = Reply::to(server.booking("k").header("authorization", scheme)).await;
        first.assert_fresh(201);
        Reply::to(server.booking("k").header("authorization", other))
            .await
            .assert_replays(&first);
    }
    // The rest is compared byte by byte. A token without a scheme is a credential too.
    for token in ["Bearer T", "t", "T", "Token t", "ApiKey t"] {
        Reply::to(server.booking("k").header("authorization", token))
            .await
            .assert_fresh(201);
    }
}

// proves: changing-credential-needs-scope
#[tokio::test]
async fn credentials_that_change_with_each_attempt_are_refused() {
    let server = TestServer::new().await;
    for authorization in [
        "AWS4-HMAC-SHA256 Credential=AKIA/20261125/eu/execute-api/aws4_request, SignedHeaders=host, Signature=1",
        "AWS4-ECDSA-P256-SHA256 Credential=AKIA/20261125, Signature=1",
        "Digest username=\"ann\", nonce=\"1\", response=\"2\"",
        "Signature keyId=\"ann\",signature=\"1\"",
        "Hawk id=\"ann\", ts=\"1\", nonce=\"2\", mac=\"3\"",
        "OAuth oauth_consumer_key=\"ann\", oauth_nonce=\"1\"",
        "Negotiate YII",
        "negotiate",
        "Unheard-Of t",
    ] {
        let response = Reply::to(server.booking("k").header("authorization", authorization)).await;
        response.assert_problem("idempotency_misconfigured");
    }
    let signed = server
        .booking("k")
        .header("signature-input", "sig=();keyid=\"ann\"");
    assert_eq!(
        Reply::to(signed).await.status(),
        "500 Internal Server Error"
    );
    // It is told of the signature whatever else is wrong, in any order.
    let signed = server
        .booking("k")
        .header("x-api-key", "ann")
        .header("x-api-key", "bob");
    let signed = signed.header("signature-input", "sig=();keyid=\"ann\"");
    Reply::to(signed)
        .await
        .assert_problem("idempotency_misconfigured");
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));

    // A signature next to a constant token does not change the caller. Without a key, the caller is not determined.
    let signed = server
        .booking("k")
        .header("signature-input", "sig=();keyid=\"ann\"");
    Reply::to(signed.header("authorization", "Bearer t"))
        .await
        .assert_fresh(201);
    let request = server
        .request(reqwest::Method::POST, "/bookings")
        .body(BOOKING);
    let request = request.header("content-type", "application/json");
    Reply::to(request.header("authorization", "Hawk id=\"ann\", ts=\"1\""))
        .await
        .assert_fresh(201);
}

// proves: changing-credential-needs-scope
#[tokio::test]
async fn a_scheme_can_be_declared_to_stay() {
    let http = HttpConfig::new().with_static_scheme("Partner");
    let server = TestServer::speaking(http).await;
    let request = |authorization: &str| server.booking("k").header("authorization", authorization);
    let first = Reply::to(request("Partner ann")).await;
    first.assert_fresh(201);
    Reply::to(request("partner  ann"))
        .await
        .assert_replays(&first);
    Reply::to(request("Partner bob")).await.assert_fresh(201);
}

// proves: changing-credential-needs-scope
#[tokio::test]
async fn credentials_on_two_lines_are_refused() {
    let server = TestServer::new().await;
    for (name, values) in [
        ("authorization", ["Bearer a", "Bearer b"]),
        ("authorization", ["Bearer a", "Bearer a"]),
        ("x-api-key", ["a", "b"]),
    ] {
        let request = server
            .booking("k")
            .header(name, values[0])
            .header(name, values[1]);
        Reply::to(request)
            .await
            .assert_problem("credentials_repeated");
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
}

// proves: static-credential-is-caller
#[tokio::test]
async fn other_cookies_never_get_this_callers_response() {
    let server = TestServer::new().await;
    let request = |cookies: &str| server.booking("k").header("cookie", cookies);
    let first = Reply::to(request("session=a; theme=dark")).await;
    first.assert_fresh(201);
    for cookies in [
        "session=b; theme=dark",
        "session=a",
        "session=a; theme=dark; seen=1",
    ] {
        Reply::to(request(cookies))
            .await
            .assert_problem("idempotency_key_reused");
    }
    let none = Reply::to(server.booking("k")).await;
    assert_eq!(none.status(), "422 Unprocessable Entity");
    Reply::to(request("session=a;theme=dark"))
        .await
        .assert_replays(&first);
    // HTTP/2 may send each on a line of its own.
    let lines = server
        .booking("k")
        .header("cookie", "session=a")
        .header("cookie", "theme=dark");
    Reply::to(lines).await.assert_replays(&first);

    // A caller with a credential is identified by it.
    let caller = |cookies: &str| request(cookies).header("authorization", "Bearer t");
    let known = Reply::to(caller("session=a")).await;
    known.assert_fresh(201);
    Reply::to(caller("session=b")).await.assert_replays(&known);
}

// proves: static-credential-is-caller
#[tokio::test]
async fn credentials_that_a_client_does_not_have_are_none() {
    let server = TestServer::new().await;
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    for (name, value) in [
        ("authorization", "Bearer"),
        ("authorization", "Bearer undefined"),
        ("authorization", "Bearer null"),
        ("authorization", "null"),
        ("x-api-key", ""),
        ("x-api-key", "undefined"),
    ] {
        Reply::to(server.booking("k").header(name, value))
            .await
            .assert_replays(&first);
        // So callers are told apart by their cookies.
        let cookie = server
            .booking("k")
            .header(name, value)
            .header("cookie", "session=a");
        assert_eq!(Reply::to(cookie).await.status(), "422 Unprocessable Entity");
    }
}

// proves: static-credential-is-caller
#[tokio::test]
async fn a_named_session_cookie_is_the_caller() {
    let http = HttpConfig::new().with_session_cookie("sid");
    let server = TestServer::speaking(http).await;
    are_kept_apart(
        &server,
        &[
            &[("cookie", "sid=a")],
            &[("cookie", "sid=b")],
            &[("cookie", "a_sid=a; sidecar=b")],
            &[("cookie", "sid=a; sid=b")],
            &[("cookie", "sid=a"), ("authorization", "Bearer t")],
        ],
    )
    .await;
    let analytics = server
        .booking("k")
        .header("cookie", "seen=17; sid=a; theme=dark");
    assert!(Reply::to(analytics).await.is_replay());
}

// proves: static-credential-is-caller
#[tokio::test]
async fn cookies_can_be_left_aside() {
    let server = TestServer::speaking(HttpConfig::new().without_cookies()).await;
    let first = Reply::to(server.booking("k").header("cookie", "seen=1")).await;
    first.assert_fresh(201);
    Reply::to(server.booking("k").header("cookie", "seen=2"))
        .await
        .assert_replays(&first);
}

// proves: static-credential-is-caller, changing-credential-needs-scope
#[tokio::test]
async fn a_verified_scope_is_the_caller_whatever_the_credentials_are() {
    let server = TestServer::new().await;
    let request = |nonce: u32| {
        server
            .post("/tenants", "k", BOOKING)
            .header("x-tenant", "a")
            .header("cookie", format!("seen={nonce}"))
            .header("x-api-key", nonce)
            .header(
                "authorization",
                format!("Hawk id=\"ann\", nonce=\"{nonce}\""),
            )
    };
    let first = Reply::to(request(1)).await;
    first.assert_fresh(201);
    Reply::to(request(2)).await.assert_replays(&first);
}

// proves: missing-required-key-refused, keyless-request-passes
#[tokio::test]
async fn a_former_field_for_the_key_is_read_where_the_request_has_no_other() {
    let http =
        HttpConfig::new().with_former_key_header("x-idempotency-key".parse().expect("a name"));
    let server = TestServer::speaking(http).await;
    let former = |path: &str, key: &str| {
        let request = server.request(reqwest::Method::POST, path).body(BOOKING);
        let request = request.header("content-type", "application/json");
        request.header("x-idempotency-key", key)
    };
    let first = Reply::to(former("/bookings", "k")).await;
    first.assert_fresh(201);
    Reply::to(former("/bookings", "\"k\""))
        .await
        .assert_replays(&first);
    Reply::to(server.booking("k")).await.assert_replays(&first);
    Reply::to(server.booking("k").header("x-idempotency-key", "k"))
        .await
        .assert_replays(&first);
    let unequal = server.booking("k").header("x-idempotency-key", "other");
    Reply::to(unequal)
        .await
        .assert_problem("idempotency_key_malformed");
    Reply::to(former("/required", "r")).await.assert_fresh(201);
}
