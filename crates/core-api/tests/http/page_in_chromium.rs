//! The page at `/` in Chromium: each button does what it says, and is seen to.
//!
//! With `PAGE_SCREENSHOTS=FOLDER` the folder gets pictures of it, in light and dark, on a desktop and on a phone.

use std::path::Path;

use tempfile::{TempDir, tempdir};

use crate::{
    browser::Page,
    clients::is_installed,
    server::Server,
    tokens::{Tokens, book},
};

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// A service in a folder of its own, and its page; `None` where there is no Chromium.
fn open(arguments: &[&str]) -> Option<(Page, Server, TempDir)> {
    if !is_installed("chromium", "Debian: apt-get install chromium") {
        return None;
    }
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), arguments);
    let page = page_of(&server, folder.path());
    Some((page, server, folder))
}

fn page_of(server: &Server, folder: &Path) -> Page {
    let url = format!("http://{}/", server.address);
    let mut page = Page::open(&folder.join("profile"), &url);
    page.show_on(DESKTOP, "light");
    page.wait_for("document.querySelector('#keys-note').textContent !== 'Reading…'");
    page
}

/// The newest group's summary, once each of its attempts has ended.
fn summary(page: &mut Page) -> String {
    const SUMMARY: &str = "document.querySelector('.group .told').textContent";
    page.wait_for("document.querySelector('#news').textContent.startsWith('With this key')");
    page.text(SUMMARY)
}

/// Clicks and returns what the line of news says then.
fn click(page: &mut Page, button: &str) -> String {
    page.evaluate("document.querySelector('#news').textContent = ''");
    page.click(button);
    summary(page)
}

/// What each attempt of the newest group got, by the class of its bar.
fn bars(page: &mut Page) -> String {
    page.text(
        "[...document.querySelectorAll('.group:first-child .track .bar')].map((bar) => bar.className.replace('bar ', '')).join(' ')",
    )
}

/// The header fields next to the last attempt of the newest group.
fn headers(page: &mut Page) -> String {
    page.text("document.querySelector('.group:first-child li:last-child .headers').innerText")
}

// proves: state-decides-response, only-replays-marked
#[tokio::test(flavor = "multi_thread")]
async fn people_book_retry_and_race_and_see_one_booking_for_each_key() {
    let Some((mut page, server, _folder)) = open(&[]) else {
        return;
    };
    assert_eq!(click(&mut page, "#book"), "1 attempt: 1 ran. 1 booking.");
    assert!(headers(&mut page).starts_with("201 Created"));
    assert_eq!(
        click(&mut page, "#retry"),
        "2 attempts: 1 ran, 1 replayed. 1 booking."
    );
    assert_eq!(bars(&mut page), "ran replayed");
    let fields = headers(&mut page);
    assert!(fields.contains("Idempotent-Replayed: true"), "{fields}");
    assert!(fields.contains("Idempotency-Expires: "), "{fields}");
    assert_eq!(
        click(&mut page, "#change"),
        "3 attempts: 1 ran, 1 replayed, 1 refused. 1 booking."
    );
    assert_eq!(bars(&mut page), "ran replayed refused");
    let fields = headers(&mut page);
    assert!(fields.starts_with("422 "), "{fields}");
    assert!(fields.contains("idempotency_key_reused"), "{fields}");
    assert_eq!(server.bookings().await.len(), 1);

    // Each of these is another booking, with another key.
    let double = click(&mut page, "#double");
    assert!(double.ends_with("1 booking."), "{double}");
    assert_eq!(server.bookings().await.len(), 2);
    let twenty = click(&mut page, "#twenty");
    assert!(twenty.starts_with("20 attempts: 1 ran, "), "{twenty}");
    assert!(twenty.ends_with(". 1 booking."), "{twenty}");
    assert_eq!(server.bookings().await.len(), 3);
    let lost = click(&mut page, "#lose");
    assert_eq!(lost, "1 attempt: 1 without an answer.");
    let retried = click(&mut page, "#retry");
    assert!(retried.ends_with(" 1 booking."), "{retried}");
    assert_eq!(server.bookings().await.len(), 4);

    // The tables show what there is.
    page.wait_for("document.querySelectorAll('#keys tbody tr').length === 4");
    page.wait_for("document.querySelectorAll('#bookings tbody tr').length === 4");
    let key = page.text("document.querySelector('#keys tbody tr').innerText");
    assert!(key.contains("POST /bookings\tdone\t1\t"), "{key}");
    // Its expiry is counted down, and its age up.
    let count =
        |column| format!("document.querySelector('#keys tbody tr').cells[{column}].textContent");
    for column in [4, 6] {
        let before = page.text(&count(column));
        page.wait_for(&format!("{} !== {before:?}", count(column)));
    }
    // Text is text.
    page.evaluate("document.querySelector('#customer_name').value = '<b id=markup>Ann</b>'");
    click(&mut page, "#double");
    page.wait_for("document.querySelector('#bookings tbody').innerText.includes('<b id=markup>')");
    assert_eq!(
        page.evaluate("document.querySelector('#markup')"),
        serde_json::Value::Null
    );
    assert_eq!(
        page.evaluate("document.querySelector('#crashes').hidden"),
        true
    );
    page.assert_no_errors();
}

// proves: run-survives-client-leaving, dead-owner-taken-over, rows-and-key-commit-together
#[tokio::test(flavor = "multi_thread")]
async fn people_lose_answers_and_crash_the_server_and_a_retry_books_once() {
    let Some((mut page, server, _folder)) = open(&["--fault-injection"]) else {
        return;
    };
    assert_eq!(click(&mut page, "#lose"), "1 attempt: 1 without an answer.");
    let news = page.text("document.querySelector('#news').textContent");
    assert!(news.contains("was it booked? Retry"), "{news}");
    // The run goes on, and the retry waits for it.
    assert_eq!(
        click(&mut page, "#retry"),
        "2 attempts: 1 waited, 1 without an answer. 1 booking."
    );
    assert_eq!(bars(&mut page), "lost waited");
    assert_eq!(server.bookings().await.len(), 1);

    assert_eq!(
        click(&mut page, "#crash-before"),
        "1 attempt: 1 without an answer."
    );
    assert_eq!(
        click(&mut page, "#retry"),
        "2 attempts: 1 ran, 1 without an answer. 1 booking."
    );
    assert_eq!(server.bookings().await.len(), 2);
    click(&mut page, "#crash-after");
    let retried = click(&mut page, "#retry");
    assert_eq!(
        retried,
        "2 attempts: 1 replayed, 1 without an answer. 1 booking."
    );
    assert_eq!(bars(&mut page), "lost replayed");
    assert_eq!(server.bookings().await.len(), 3);
    assert_eq!(server.logged().matches("has crashed").count(), 2);

    let twenty = click(&mut page, "#twenty");
    assert!(
        twenty.starts_with("20 attempts: 1 ran, 19 waited"),
        "{twenty}"
    );
    assert_eq!(server.bookings().await.len(), 4);
    page.take_screenshot("twenty");
    click(&mut page, "#change");
    click(&mut page, "#retry");
    click(&mut page, "#double");
    click(&mut page, "#change");
    page.wait_for("document.querySelectorAll('#keys tbody tr').length === 5");
    for (screen, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        for scheme in ["light", "dark"] {
            page.show_on(size, scheme);
            page.take_screenshot(&format!("{screen}-{scheme}"));
            let overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth");
            assert!(overflow.as_i64().unwrap() <= 0, "{screen}: {overflow}");
        }
    }
    page.assert_no_errors();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_used_by_keyboard_and_every_control_has_a_name() {
    let Some((mut page, server, _folder)) = open(&["--fault-injection"]) else {
        return;
    };
    page.evaluate("document.querySelector('#delay').value = '0'");
    // From the start of the page, with a retry.
    page.evaluate("document.querySelector('#customer_name').focus()");
    page.press("Enter");
    assert_eq!(summary(&mut page), "1 attempt: 1 ran. 1 booking.");
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)");
    let mut reached = Vec::new();
    for _ in 0..60 {
        page.press("Tab");
        let id = page.text("document.activeElement.id || document.activeElement.tagName");
        let outline = page.text("getComputedStyle(document.activeElement).outlineStyle");
        assert!(
            outline != "none" || id == "BODY",
            "the focus is not seen on {id}"
        );
        if reached.last() != Some(&id) {
            reached.push(id);
        }
    }
    let mut rest = reached.iter();
    for id in [
        "service_id",
        "customer_name",
        "date",
        "time",
        "key",
        "new-key",
        "waits",
        "delay",
        "book",
        "double",
        "twenty",
        "lose",
        "crash-before",
        "crash-after",
        "retry",
        "change",
    ] {
        assert!(rest.any(|reached| reached == id), "{id}: {reached:?}");
    }
    page.evaluate("document.querySelector('#news').textContent = ''; document.querySelector('#retry').focus()");
    page.press(" ");
    assert_eq!(
        summary(&mut page),
        "2 attempts: 1 ran, 1 replayed. 1 booking."
    );
    assert_eq!(server.bookings().await.len(), 1);
    let nameless = page.text(
        "[...document.querySelectorAll('input, select, button, a, [role]')]
            .filter((element) => !(element.labels?.length || element.ariaLabel || element.ariaLabelledByElements?.length || element.textContent.trim()))
            .map((element) => element.outerHTML).join()",
    );
    assert_eq!(nameless, "");
    page.assert_no_errors();
}

// proves: bearer-token-required, principals-are-separate
#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_the_page_shows_what_the_token_may_see_and_keeps_it_nowhere() {
    if !is_installed("chromium", "Debian: apt-get install chromium") {
        return;
    }
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let server = tokens.start(&["--database", "memory:"]);
    assert_eq!(book(&server, &bob, "k").await.status, 201);
    let mut page = page_of(&server, tokens.directory.path());
    page.wait_for("document.querySelector('#keys-note').textContent.includes('token')");
    assert_eq!(
        page.evaluate("document.querySelector('#keys').hidden"),
        true
    );
    let refused = click(&mut page, "#book");
    assert_eq!(refused, "1 attempt: 1 refused.");
    assert!(headers(&mut page).starts_with("401 "));

    page.evaluate("document.querySelector('#token input').focus()");
    page.call("Input.insertText", &serde_json::json!({"text": ann}));
    let booked = click(&mut page, "#book");
    assert_eq!(booked, "2 attempts: 1 ran, 1 refused. 1 booking.");
    page.wait_for("document.querySelectorAll('#keys tbody tr').length === 1");
    page.wait_for("document.querySelectorAll('#bookings tbody tr').length === 1");
    let kept = page.text("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, document.body.innerHTML])");
    assert!(!kept.contains(&ann), "{kept}");
    page.assert_no_errors();
}

// proves: key-state-shown
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_use_is_shown_with_its_lease_and_what_a_crash_loses_is_said() {
    let Some((mut page, _server, _folder)) = open(&["--database", "memory:", "--fault-injection"])
    else {
        return;
    };
    let note = page.text("document.querySelector('#crash-note').textContent");
    assert!(note.contains("in memory, so a crash loses them"), "{note}");
    page.evaluate("document.querySelector('#delay').value = '3000'");
    page.click("#book");
    const CELLS: &str = "document.querySelector('#keys tbody tr')?.cells";
    page.wait_for(&format!("{CELLS}?.[2].textContent === 'running'"));
    let lease = page.text(&format!("{CELLS}[5].textContent"));
    let seconds: u64 = lease.strip_suffix(" s").unwrap().parse().unwrap();
    assert!((20..=30).contains(&seconds), "{lease}");
    page.wait_for(&format!("{CELLS}[5].textContent !== {lease:?}"));
    page.wait_for(&format!("{CELLS}[2].textContent === 'done'"));
    page.assert_no_errors();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_seen_reads_nothing() {
    let Some((mut page, server, _folder)) = open(&["--database", "memory:"]) else {
        return;
    };
    const READ: &str = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/page/keys')).length";
    page.wait_for(&format!("{READ} > 1"));
    let show =
        "Object.defineProperty(document, 'hidden', { configurable: true, get: () => HIDDEN });
        document.dispatchEvent(new Event('visibilitychange'))";
    page.evaluate(&show.replace("HIDDEN", "true"));
    let before = page.evaluate(READ);
    // Longer than between two reads of a page that is seen.
    page.evaluate("new Promise((done) => setTimeout(done, 3000))");
    assert_eq!(page.evaluate(READ), before);
    server.book("k", "Ann").await;
    page.evaluate(&show.replace("HIDDEN", "false"));
    page.wait_for("document.querySelectorAll('#keys tbody tr').length === 1");
    page.assert_no_errors();
}
