//! Strings with their escapes resolved.

/// Writes the form of a string whose opening quote was read, with its closing quote, and returns the text after it.
pub(super) fn write<'a>(mut text: &'a [u8], form: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (plain, rest) = text.split_at(plain(text));
        form.extend_from_slice(plain);
        text = match rest {
            [b'"', rest @ ..] => {
                form.push(b'"');
                return Some(rest);
            }
            [b'\\', rest @ ..] => {
                let (character, rest) = escape(rest)?;
                if matches!(character, '"' | '\\') {
                    form.push(b'\\');
                }
                form.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest
            }
            _ => return None,
        };
    }
}

/// The number of bytes before a quote, a backslash or a control character.
fn plain(text: &[u8]) -> usize {
    // Eight bytes are tested at a time, because most of a body is strings.
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
    words.len() * 8 + end.unwrap_or(rest.len())
}

/// The high bit of each byte that does not stand for itself. Bytes above the lowest such byte may be marked wrongly,
/// because a subtraction borrows from the next byte.
const fn special(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let found = (quote.wrapping_sub(EACH) & !quote)
        | (backslash.wrapping_sub(EACH) & !backslash)
        | (word.wrapping_sub(EACH * b' ' as u64) & !word);
    found & (EACH << 7)
}

/// The character after a backslash, and the text after it.
fn escape(text: &[u8]) -> Option<(char, &[u8])> {
    let (&kind, rest) = text.split_first()?;
    let character = match kind {
        b'"' | b'\\' | b'/' => char::from(kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// One code point in hexadecimal: one UTF-16 unit, or a surrogate pair of two.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = unit(text)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest.strip_prefix(b"\\u")?)?;
    match (first, second) {
        (0xD800..0xDC00, 0xDC00..0xE000) => {
            let point = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            Some((char::from_u32(point)?, rest))
        }
        _ => None,
    }
}

fn unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit, &digit| {
        Some(unit << 4 | char::from(digit).to_digit(16)?)
    })?;
    Some((unit, rest))
}
