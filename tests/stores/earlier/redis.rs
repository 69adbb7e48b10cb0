//! A database of Redis: a line for each key, with its value in hexadecimal digits and the time when it expires.

use std::fmt::Write;

use tests::servers::redis::{RedisServer, keys};

pub(super) fn save(server: &RedisServer) -> Vec<u8> {
    let mut connection = server.connection();
    let mut names = keys(&mut connection, "");
    names.sort();
    let mut lines = String::new();
    for name in names {
        let read = redis::pipe()
            .cmd("GET")
            .arg(&name)
            .cmd("PEXPIRETIME")
            .arg(&name)
            .query(&mut connection);
        let (value, expires_at): (Vec<u8>, i64) = read.expect("a string");
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(lines, "{name} {digits} {expires_at}").expect("a line");
    }
    lines.into_bytes()
}

pub(super) fn restore(server: &RedisServer, records: &[u8]) {
    let mut connection = server.connection();
    for line in str::from_utf8(records).expect("text").lines() {
        let [name, digits, expires_at] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a key, its value and a time: {line}");
        };
        let value: Result<Vec<u8>, _> = (0..digits.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(&digits[place..place + 2], 16))
            .collect();
        let set = redis::cmd("SET")
            .arg(name)
            .arg(value.expect("hexadecimal digits"))
            .arg("PXAT")
            .arg(expires_at)
            .exec(&mut connection);
        set.expect("a key");
    }
}
