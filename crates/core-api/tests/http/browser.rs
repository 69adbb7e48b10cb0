//! A page in Chromium, driven as a person does: by the mouse and the keyboard, through the protocol of its developer tools.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client};

use crate::clients::Chromium;

/// How long anything on the page may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One page, closed with its browser when this is dropped.
pub(crate) struct Page {
    _chromium: Chromium,
    socket: WebSocket<TcpStream>,
    session: Value,
    calls: u64,
    /// What its scripts did wrong, and what its policy has blocked.
    errors: Vec<String>,
    /// The addresses that it has asked for.
    requested: Vec<String>,
}

impl Page {
    /// Opens a page in a browser of its own, without a network.
    pub(crate) fn open(profile: &Path, url: &str) -> Self {
        let mut command = Chromium::command(profile);
        command
            .arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
            .arg("--remote-debugging-port=0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut chromium = Chromium(command.spawn().unwrap());
        let stderr = chromium.0.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let address = lines
            .by_ref()
            .find_map(|line| Some(line.strip_prefix("DevTools listening on ")?.to_owned()))
            .expect("Chromium starts");
        // It may not write more than is read.
        thread::spawn(move || lines.for_each(drop));
        let host = address.strip_prefix("ws://").unwrap();
        let stream = TcpStream::connect(host.split_once('/').unwrap().0).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (socket, _) = client(address.as_str(), stream).unwrap();
        let mut page = Self {
            _chromium: chromium,
            socket,
            session: Value::Null,
            calls: 0,
            errors: Vec::new(),
            requested: Vec::new(),
        };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        page.session = page.call("Target.attachToTarget", &target)["sessionId"].clone();
        for domain in ["Runtime", "Log", "Network", "Page"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.call("Page.navigate", &json!({"url": url}));
        page.wait_for("document.readyState === 'complete'");
        page
    }

    /// Calls a method of the protocol, and returns its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if self.session.is_string() {
            call["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.socket.read().unwrap_or_else(|error| {
                panic!("{method} {parameters}: {error}");
            });
            let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.notice(&message);
        }
    }

    fn notice(&mut self, event: &Value) {
        let parameters = &event["params"];
        if event["method"] == "Network.requestWillBeSent" {
            let url = parameters["request"]["url"].as_str().unwrap();
            self.requested.push(url.to_owned());
        }
        let is_wrong = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                matches!(
                    parameters["type"].as_str(),
                    Some("error" | "warning" | "assert")
                )
            }
            // The browser reports each refusal, and each connection that breaks.
            Some("Log.entryAdded") => {
                let entry = &parameters["entry"];
                entry["source"] != "network"
                    && matches!(entry["level"].as_str(), Some("error" | "warning"))
            }
            _ => false,
        };
        if is_wrong {
            self.errors.push(parameters.to_string());
        }
    }

    /// The value of an expression; of a promise, that with which it is fulfilled.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// What the expression says, as text.
    pub(crate) fn text(&mut self, expression: &str) -> String {
        self.evaluate(expression).as_str().unwrap().to_owned()
    }

    /// Returns once the condition holds.
    pub(crate) fn wait_for(&mut self, condition: &str) {
        let holds = self.evaluate(&format!(
            "new Promise((done) => {{
                const end = performance.now() + {};
                const look = () => {condition} ? done(true) : performance.now() > end ? done(false) : setTimeout(look, 20);
                look();
            }})",
            TIMEOUT.as_millis() / 2,
        ));
        if holds != true {
            let text = self.text("document.body.innerText");
            panic!("{condition} does not become true: {text}");
        }
    }

    /// Clicks in the middle of the element.
    pub(crate) fn click(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{
                const element = document.querySelector({selector:?});
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const {{ x, y, width, height }} = element.getBoundingClientRect();
                return [x + width / 2, y + height / 2];
            }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Presses a key and lets it go.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            key => panic!("a key that this test knows: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Shows the page on a screen of this size, in light or dark.
    pub(crate) fn show_on(&mut self, (width, height): (u32, u32), scheme: &str) {
        let is_phone = width < 600;
        let screen =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Writes a picture of the whole page to the folder that `PAGE_SCREENSHOTS` names, if it names one.
    pub(crate) fn take_screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("PAGE_SCREENSHOTS") else {
            return;
        };
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", &parameters)["data"].clone();
        let path = Path::new(&folder).join(format!("{name}.png"));
        fs::write(path, decoded(picture.as_str().unwrap())).unwrap();
    }

    /// Every address that the page has asked for.
    pub(crate) fn requested(&mut self) -> &[String] {
        // Whatever was requested before this call is read with it.
        self.evaluate("0");
        &self.requested
    }

    /// Asserts that the page has reported no mistake.
    #[track_caller]
    pub(crate) fn assert_no_errors(&mut self) {
        // Whatever was reported before this call is read with it.
        self.evaluate("0");
        assert!(self.errors.is_empty(), "{:#?}", self.errors);
    }
}

/// The bytes of text in base64, which may end with `=`.
fn decoded(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| ALPHABET.iter().position(|&other| other == byte);
    let digits: Vec<_> = text.bytes().filter_map(digit).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let number = (0..4).fold(0, |number, place| {
            number << 6 | group.get(place).copied().unwrap_or(0)
        });
        let whole = u32::try_from(number).unwrap().to_be_bytes();
        bytes.extend(&whole[1..group.len()]);
    }
    bytes
}
