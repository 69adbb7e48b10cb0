//! Numbers as exact decimals: the lexeme is taken apart and never becomes a float.

use std::io::Write as _;

/// Writes the form of the number at the start of the text, and returns the text after it.
///
/// The form, and whether there is one, depend only on the number and not on its spelling.
pub(super) fn write<'a>(text: &'a [u8], form: &mut Vec<u8>) -> Option<&'a [u8]> {
    let start = form.len();
    let rest = match text {
        [b'-', rest @ ..] => {
            form.push(b'-');
            rest
        }
        _ => text,
    };
    let (whole, rest) = match rest {
        [b'0', rest @ ..] => (&[][..], rest),
        _ => digits(rest)?,
    };
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest)?,
        _ => (&[][..], rest),
    };
    let (exponent, rest) = exponent(rest)?;

    let first = form.len();
    form.extend_from_slice(whole);
    form.extend_from_slice(match whole {
        [] => without_leading_zeros(fraction),
        _ => fraction,
    });
    let Some(last) = form[first..].iter().rposition(|&digit| digit != b'0') else {
        form.truncate(start);
        form.push(b'0');
        return Some(rest);
    };
    let zeros = form.len() - (first + last + 1);
    form.truncate(first + last + 1);

    let power = exponent?
        .checked_add(i128::try_from(zeros).ok()?)?
        .checked_sub(i128::try_from(fraction.len()).ok()?)?;
    match i64::try_from(power).ok()? {
        0 => {}
        power => write!(form, "e{power}").ok()?,
    }
    Some(rest)
}

/// The exponent, 0 if there is none, and the text after it. The inner `None` means that it is huge.
fn exponent(text: &[u8]) -> Option<(Option<i128>, &[u8])> {
    let [b'e' | b'E', rest @ ..] = text else {
        return Some((Some(0), text));
    };
    let (sign, rest) = match rest {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, rest),
    };
    let (digits, rest) = digits(rest)?;
    let exponent = digits.iter().try_fold(0_i128, |exponent, digit| {
        exponent
            .checked_mul(10)?
            .checked_add(sign * i128::from(digit - b'0'))
    });
    Some((exponent, rest))
}

/// At least one digit, and the text after the digits.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}
