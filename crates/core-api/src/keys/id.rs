//! How operators name a key.

use std::{fmt, str::FromStr};

use idempotency::{
    Idempotency, IdempotencyKey, Scope,
    store::{ListRequest, Phase, Record, RecordId, StoreError},
};

/// The digest of a key in hexadecimal digits: all 64, or the first ones; log lines show 16.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyId(Box<str>);

/// Fewer digits could match several keys.
const MIN_DIGITS: usize = 16;

const DIGITS: usize = 64;

/// What an id names.
pub(crate) enum Found {
    /// The key is free.
    Nothing,
    One(Box<Record>),
    /// Several records begin with these digits.
    Several,
}

impl KeyId {
    pub(crate) fn of(id: &RecordId) -> Self {
        let digits = id.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        Self(digits.collect::<String>().into())
    }

    /// The id, if all its digits are given.
    pub(crate) fn whole(&self) -> Option<RecordId> {
        (self.0.len() == DIGITS).then(|| RecordId::from_bytes(self.lowest()))
    }

    /// The smallest id that begins with these digits.
    fn lowest(&self) -> [u8; 32] {
        let padded = format!("{:0<DIGITS$}", self.0);
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(padded.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).expect("digits are ASCII");
            *byte = u8::from_str_radix(digits, 16).expect("these are hexadecimal digits");
        }
        bytes
    }
}

/// The record that an operator names.
pub(crate) async fn find(idempotency: &Idempotency, id: &KeyId) -> Result<Found, StoreError> {
    if let Some(whole) = id.whole() {
        let found = idempotency.store().inspect(&whole).await?;
        return Ok(found.map_or(Found::Nothing, |record| Found::One(Box::new(record))));
    }
    let mut request = ListRequest::new(2);
    if let Some(before) = predecessor(id.lowest()) {
        request = request.after(RecordId::from_bytes(before));
    }
    let listed = idempotency.store().list(&request).await?;
    let mut named = listed
        .into_iter()
        .filter(|listed| KeyId::of(&listed.id).0.starts_with(&*id.0));
    match (named.next(), named.next()) {
        (None, _) => Ok(Found::Nothing),
        (Some(one), None) => Ok(Found::One(Box::new(one.record?))),
        (Some(_), Some(_)) => Ok(Found::Several),
    }
}

/// The record of a key and its owner. While the secret is being changed there may be one under each secret. The completed one
/// is then the run's, and if neither is completed, the one under the current secret.
pub(crate) async fn find_named(
    idempotency: &Idempotency,
    scope: &Scope,
    key: &IdempotencyKey,
) -> Result<Option<Box<Record>>, StoreError> {
    let mut first = None;
    let ids = idempotency.record_ids(scope, key);
    // A run that ends moves from the second record to the first, so the first is read again.
    let again = if ids.len() > 1 { ids.first() } else { None };
    for id in ids.iter().chain(again) {
        let Some(record) = idempotency.store().inspect(id).await? else {
            continue;
        };
        if let Phase::Completed { .. } = record.phase {
            return Ok(Some(Box::new(record)));
        }
        first = first.or(Some(Box::new(record)));
    }
    Ok(first)
}

/// The preceding id, because a list starts after an id.
fn predecessor(mut id: [u8; 32]) -> Option<[u8; 32]> {
    for byte in id.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            return Some(id);
        }
    }
    None
}

impl FromStr for KeyId {
    type Err = String;

    /// The error does not repeat the text, which may be a key in the wrong place.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (MIN_DIGITS..=DIGITS).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(format!(
                "an id has {MIN_DIGITS} to {DIGITS} hexadecimal digits, as in log lines and lists"
            ))
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_sixteen_digits_or_more() {
        let zeros = "0".repeat(64);
        for text in ["00112233445566ff", "00112233445566FFa", &zeros] {
            let id: KeyId = text.parse().unwrap();
            assert_eq!(id.to_string(), text.to_ascii_lowercase());
        }
        for text in [
            "",
            "00112233445566f",
            "order-1042-secret",
            &format!("{zeros}0"),
        ] {
            let error = text.parse::<KeyId>().unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_list_begins_before_the_first_id_with_these_digits() {
        let mut id = [0; 32];
        assert_eq!(predecessor(id), None);
        id[1] = 1;
        let mut before = [0xff; 32];
        (before[0], before[1]) = (0, 0);
        assert_eq!(predecessor(id), Some(before));
    }
}
