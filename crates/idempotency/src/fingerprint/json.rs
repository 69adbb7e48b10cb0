mod number;
mod order;
mod string;

use std::{cell::Cell, mem};

use order::Order;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 128;

/// A canonical form: two JSON texts have the same form exactly if they are the same value.
///
/// ```
/// use idempotency::fingerprint::canonical_json;
///
/// let form = canonical_json(br#"{"amount": 12.50, "to": "Ann"}"#);
/// assert_eq!(form, canonical_json(br#"{"to":"\u0041nn","amount":125e-1}"#));
/// assert_ne!(form, canonical_json(br#"{"to":"ann","amount":12.50}"#));
/// ```
///
/// The order of members, insignificant white space and the escaping of strings do not matter. Numbers are compared as
/// exact decimals, so 9007199254740993 differs from 9007199254740992, although both are the same floating-point number.
/// Strings differ if one character does, even if they are equal after Unicode normalization.
///
/// Returns `None` for texts on whose value readers disagree: text that is not JSON in UTF-8, starts with a byte order
/// mark, repeats a member's name, has half a surrogate pair, or nests deeper than 128 levels. It also returns `None`
/// for a number whose power of ten does not fit into 64 bits.
#[must_use]
pub fn canonical_json(text: &[u8]) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        str::from_utf8(text).ok()?;
    }
    let mut reader = Reader {
        rest: text,
        lists: LISTS.try_with(Cell::take).unwrap_or_default(),
    };
    reader.lists.form.reserve(text.len() + 16);
    let is_whole = reader.value(MAX_DEPTH).is_some() && reader.rest.is_empty();
    let mut lists = reader.lists;
    let canonical = is_whole.then(|| match lists.order.apply(&lists.form) {
        Some(ordered) => ordered,
        None => mem::take(&mut lists.form),
    });
    // Those of a long text are not kept.
    if lists.form.capacity() <= MAX_KEPT && lists.order.clear() <= MAX_KEPT {
        lists.form.clear();
        let _ = LISTS.try_with(|kept| kept.set(lists));
    }
    canonical
}

thread_local! {
    /// Those of this thread's last text, for its next one: allocating them takes as long as reading a short text.
    static LISTS: Cell<Lists> = Cell::default();
}

/// What is written while a text is read.
#[derive(Default)]
struct Lists {
    form: Vec<u8>,
    order: Order,
}

/// The most bytes that a thread keeps of the form, and of the order: those of some hundred members.
const MAX_KEPT: usize = 8192;

/// Reads a text and writes its canonical form.
///
/// The form is JSON without white space and with sorted members, and it fixes what JSON leaves open. A string escapes
/// only the quote and the backslash, so it can contain control characters. A number is its digits without zeros at
/// either end, then its power of ten if that is not 0. Reading the form as JSON gives the value back, so different
/// values cannot share a form.
struct Reader<'a> {
    rest: &'a [u8],
    lists: Lists,
}

impl Reader<'_> {
    /// A value with at most this many nested levels, and the white space around it.
    fn value(&mut self, depth: usize) -> Option<()> {
        self.skip_space();
        match self.rest.first()? {
            b'"' => self.string()?,
            b'{' => self.object(depth.checked_sub(1)?)?,
            b'[' => self.array(depth.checked_sub(1)?)?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => self.rest = number::write(self.rest, &mut self.lists.form)?,
        }
        self.skip_space();
        Some(())
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let mut object = self.lists.order.begin(&self.lists.form);
        self.copy(b'{')?;
        self.skip_space();
        if self.copy(b'}').is_some() {
            return Some(());
        }
        loop {
            let start = self.lists.form.len();
            self.skip_space();
            self.string()?;
            let name = start..self.lists.form.len();
            self.skip_space();
            self.copy(b':')?;
            self.value(depth)?;
            self.lists
                .order
                .member(&mut object, name, &self.lists.form)?;
            if self.copy(b',').is_none() {
                break;
            }
        }
        self.copy(b'}')?;
        self.lists.order.end(&object, &self.lists.form)
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.copy(b'[')?;
        self.skip_space();
        if self.copy(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.copy(b',').is_none() {
                break;
            }
        }
        self.copy(b']')
    }

    fn string(&mut self) -> Option<()> {
        self.copy(b'"')?;
        self.rest = string::write(self.rest, &mut self.lists.form)?;
        Some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        self.lists.form.extend_from_slice(literal);
        Some(())
    }

    fn copy(&mut self, byte: u8) -> Option<()> {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                self.lists.form.push(byte);
                Some(())
            }
            _ => None,
        }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}
