//! A reader of JSON that keeps each number as an exact decimal, and a writer that spells a value in another way. Slow and plain: what the
//! library does fast is compared with it.

use std::collections::BTreeMap;

/// A value; equal values are equal here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(BTreeMap<String, Self>),
}

/// `digits * 10^power`, without zeros at either end of the digits; zero has no digits and the power 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    is_negative: bool,
    digits: String,
    power: i64,
}

/// How a text may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strings {
    /// As RFC 8259 has them.
    Standard,
    /// With control characters as they are.
    WithControls,
}

/// The value of a text, if all readers agree on it: `None` for one that names a member twice, has half a surrogate pair, nests deeper than 128
/// levels, or has a number whose power does not fit into 64 bits.
#[must_use]
pub fn read(text: &[u8], strings: Strings) -> Option<Json> {
    let mut reader = Reader {
        rest: str::from_utf8(text).ok()?,
        strings,
    };
    let value = reader.value(128)?;
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    strings: Strings,
}

impl Reader<'_> {
    fn value(&mut self, depth: u8) -> Option<Json> {
        self.skip();
        let value = match self.rest.chars().next()? {
            'n' => self.literal("null", Json::Null)?,
            't' => self.literal("true", Json::Bool(true))?,
            'f' => self.literal("false", Json::Bool(false))?,
            '"' => Json::Text(self.text()?),
            '[' => Json::Array(self.array(depth.checked_sub(1)?)?),
            '{' => Json::Object(self.object(depth.checked_sub(1)?)?),
            _ => Json::Number(self.number()?),
        };
        self.skip();
        Some(value)
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn literal(&mut self, token: &str, value: Json) -> Option<Json> {
        self.take(token).map(|()| value)
    }

    fn array(&mut self, depth: u8) -> Option<Vec<Json>> {
        self.take("[")?;
        self.skip();
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.take("]").is_some() {
                return Some(items);
            }
            self.take(",")?;
        }
    }

    fn object(&mut self, depth: u8) -> Option<BTreeMap<String, Json>> {
        self.take("{")?;
        self.skip();
        let mut members = BTreeMap::new();
        if self.take("}").is_some() {
            return Some(members);
        }
        loop {
            self.skip();
            let name = self.text()?;
            self.skip();
            self.take(":")?;
            let value = self.value(depth)?;
            if members.insert(name, value).is_some() {
                return None;
            }
            if self.take("}").is_some() {
                return Some(members);
            }
            self.take(",")?;
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take("\"")?;
        // As UTF-16, so that the halves of a pair meet.
        let mut units = Vec::new();
        loop {
            let character = self.rest.chars().next()?;
            self.rest = &self.rest[character.len_utf8()..];
            match character {
                '"' => return String::from_utf16(&units).ok(),
                '\\' => units.push(self.escape()?),
                ..' ' if self.strings == Strings::Standard => return None,
                _ => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        let plain = match character {
            '"' | '\\' | '/' => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest.get(..4)?;
                let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                self.rest = &self.rest[4..];
                return all.then(|| u16::from_str_radix(digits, 16).ok())?;
            }
            _ => return None,
        };
        u16::try_from(u32::from(plain)).ok()
    }

    fn number(&mut self) -> Option<Number> {
        let is_negative = self.take("-").is_some();
        let whole = self.digits();
        let fraction = match self.take(".") {
            Some(()) => Some(self.digits()).filter(|digits| !digits.is_empty())?,
            None => String::new(),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let mut exponent = Some(0);
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let sign = match self.take("-") {
                Some(()) => -1,
                None => {
                    let _ = self.take("+");
                    1
                }
            };
            let digits = Some(self.digits()).filter(|digits| !digits.is_empty())?;
            let digits = digits.trim_start_matches('0');
            // One of more digits is beyond 64 bits however many digits the number has.
            exponent = match digits.len() {
                0 => Some(0),
                1..=30 => digits.parse().ok().map(|power: i128| sign * power),
                _ => None,
            };
        }
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        if kept.is_empty() {
            return Some(Number {
                is_negative: false,
                digits: String::new(),
                power: 0,
            });
        }
        let zeros = i128::try_from(digits.len() - kept.len()).ok()?;
        let power = exponent? + zeros - i128::try_from(fraction.len()).ok()?;
        Some(Number {
            is_negative,
            digits: kept.to_owned(),
            power: power.try_into().ok()?,
        })
    }

    fn digits(&mut self) -> String {
        let rest = self
            .rest
            .trim_start_matches(|character: char| character.is_ascii_digit());
        let digits = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        digits.to_owned()
    }
}

impl Json {
    /// Another text of the same value: members backwards, strings in escapes, numbers with a shifted point, and white space everywhere.
    #[must_use]
    pub fn respelled(&self) -> String {
        match self {
            Self::Null => " null\n".to_owned(),
            Self::Bool(truth) => format!("\t{truth} "),
            Self::Number(number) => number.respelled(),
            Self::Text(text) => escaped(text),
            Self::Array(items) => {
                let items: Vec<_> = items.iter().map(Self::respelled).collect();
                format!("[ {} ]", items.join("\r, "))
            }
            Self::Object(members) => {
                let members = members.iter().rev();
                let members: Vec<_> = members
                    .map(|(name, value)| format!("{} : {}", escaped(name), value.respelled()))
                    .collect();
                format!("{{ {} }}", members.join(" ,\n"))
            }
        }
    }
}

impl Number {
    fn respelled(&self) -> String {
        if self.digits.is_empty() {
            return "-0.000e+77".to_owned();
        }
        let sign = if self.is_negative { "-" } else { "" };
        // The point is before all digits, and a zero behind them.
        let power =
            i128::from(self.power) + i128::try_from(self.digits.len()).expect("a short text");
        format!("{sign}0.{}0E{power:+}", self.digits)
    }
}

fn escaped(text: &str) -> String {
    let units: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04X}"))
        .collect();
    format!("\"{units}\"")
}
